rule a {
enum Mode { # modes
OFF, # off
# heat
HEAT
, COOL
}
record R { # fields
a: int # a
b: # type
float
}
on every 1s
}