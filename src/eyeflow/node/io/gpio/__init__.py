"""Pins of this machine: edges as a source, levels as a driver, simulated or by libgpiod."""
