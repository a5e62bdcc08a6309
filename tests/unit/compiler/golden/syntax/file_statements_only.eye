let x = 1
log.info("{x}")
