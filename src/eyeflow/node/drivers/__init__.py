"""What capabilities do: one file for each namespace."""
