rule a {
    on every 1s
}

rule b {
    on every 1s
}
