# top


# second
rule a{ # open
# before on

 on every 1s { # trigger
# first
if x { # then
# lone
} # closed
# before else
else { y = 1 # one
# last
}
 # end of block
} # after handler
# before brace
} # after rule
# end of file


