# top
rule   x {   # the rule

  version    "1.0"
   # about
   enum Mode {OFF,HEAT,
     COOL}
   record Reading { temp:float,unit:text( 8 )="C" }
   record R2 {
      # first
      a: int, b: int  # both
      c: list(float,3)
      # end
   }
   param l: float=-4.0 in -5.0 ..  5.0
  state  trips:int=0


  state foo: int
  on every 500ms {let a=adc.read_channel(0)retry 2 backoff 1s else 0
  if a>-1 and not(b)or c[ 0 ]<2 { x=1 } # hm
  # why
  else if z { } else { # deep

     y = [1,2,] # a list
     match m { A, B => { clear(l) } else => {} }

  }
  mqtt.publish("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb {a:1}") retry 5 else skip
  if aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa and bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb or cccccccccccccccccccccccccccccccccccc for 2s { x = foo(1, # one
   2) }
  # last
  }
  on cron "* * * * *"
  trips = 1
   - 2
  test "a" { given x = -1 }
  test "a" { given adc.read_channel(0)=-1
  after 2s
  after 3s expect no foo.bar(a) # ok
  send r {a: 1, b: 2}
  expect (a > 1) }
}
# the end
