"""Runs the firmware image of a microcontroller without a board: needs the extra `eyeflow[sim]`."""
