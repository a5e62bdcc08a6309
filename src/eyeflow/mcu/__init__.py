"""Chips, and building, flashing and pushing to microcontrollers."""
