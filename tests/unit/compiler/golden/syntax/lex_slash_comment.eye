rule example {
    on every 1s

    // set it
    x = 1 // to one
    /* and
       the other */
    y = 2
}
