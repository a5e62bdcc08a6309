rule example {
    on every 1s

    if a:
        x = 1
    else:
        x = 2
    for i in list:
        y = i
    z =
}
