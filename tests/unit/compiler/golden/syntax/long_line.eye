rule pump {
    on every 500ms

    let temp = value_0 + value_1 + value_2 + value_3 + value_4 + value_5 + value_6 + value_7 + value_8 + value_9 + value_10 + value_11 + value_12 + value_13 + value_14 + value_15 + value_16 + value_17 + value_18 + value_19 + value_20 + value_21 + value_22 + value_23 + value_24 + value_25 + value_26 + value_27 + value_28 + value_29 + * 2 + other_0 + other_1 + other_2 + other_3 + other_4 + other_5 + other_6 + other_7 + other_8 + other_9 + other_10 + other_11 + other_12 + other_13 + other_14 + other_15 + other_16 + other_17 + other_18 + other_19 + other_20 + other_21 + other_22 + other_23 + other_24 + other_25 + other_26 + other_27 + other_28 + other_29
}
