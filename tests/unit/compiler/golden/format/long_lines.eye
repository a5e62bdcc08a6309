rule a {
on every 1s
let a_long_name = first_operand_of_this * second_operand_of_this + third_operand_of_this / fourth_operand_of_this - fifth
let b = if a_condition_that_is_long > another_value_here then the_first_of_two_values else the_second_of_two_values_here
if first_condition_is_long > 5 and second_condition_is_long < 6 or third_condition_is_long == 7 and fourth for 2s cooldown 10min { x = 1 }
mqtt.publish("plant/alarm/tank", "the level is {level:1} of {limit:1}, which is high", text(level)) retry 5 backoff 1s timeout 10s else skip
let c = adc.read_channel_with_a_name_that_is_long(0) retry 2 timeout 500ms else a_fallback_value_with_a_long_name_too
emit overheated_for_a_long_time(temperature: temperature_now, limit: limit_of_the_machine, since: now() - started_at)
let d = outer(inner(aaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbbbbb, ccccccccccccccccccccccccccc), inner(ddddddddddd))
}