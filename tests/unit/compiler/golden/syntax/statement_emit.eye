rule example {
    on every 1s

    emit hot
    emit "hot"(temp: 1)
    emit hot(temp = 1)
}
