rule a {
on every 1s
let x = max( # open
1, # one
# two is next
2 # two
# end
)
let y = [ # none
]
let z = 1 + # plus
# about two
2
log.info(f(1, # inner
2), 3)
enum_like = 1
}