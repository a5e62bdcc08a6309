rule example {
    on every 1s

    log.info("温度 é́ {x}") = 1
    	log.info("	x") 5
}
