"""Lines appended to files."""
