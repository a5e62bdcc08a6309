"""What audit records mean: as people read them, run again, explained, and written to files for others."""
