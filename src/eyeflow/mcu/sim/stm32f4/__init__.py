"""The peripherals of an STM32F4 that eyeflow's firmware uses (ST RM0368), each as far as the firmware can tell."""
