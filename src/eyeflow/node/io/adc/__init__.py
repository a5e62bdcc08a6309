"""Analog channels, simulated or of Linux IIO."""
