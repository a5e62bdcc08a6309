rule a {
    on every 1s

    x = 1

rule b {
    on every 1s
}
