rule a { on every 1s { if a { x = 1 } else if b { } else { match m { A, B => { y = 1 } else => {} } }
for i in 0..10 { z = - 1 } }
test "t" { after 1s expect x == 1 } }