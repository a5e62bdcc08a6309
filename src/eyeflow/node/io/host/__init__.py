"""Readings of this machine, as a source and as a driver."""
