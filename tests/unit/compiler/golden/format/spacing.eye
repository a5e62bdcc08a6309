rule a{param  l:float=-80.0 in -  5.0 .. 120.0
state s:list( R ,4 )=[ ]
on every 1s{let x=-a- -b*- 1
s[ 0 ] . v=f( x , y:[ 1,2 , ] )
if not(a)and(b)or c==- 1{log.info( "a" )else skip}
for x in[1,2]{ append ( s,x ) }
let w=mean( x,last 5min max 300 )+(if a then(1)else(2))
}}