rule a {



version "1"


priority high
pin A: input
on every 1s {


x = 1



y = 2

}
on cron "* * * * *"
z = 1
on gpio A rises {}
test "a" {

given x = 1


expect y == 1
}
test "b" {}


}
