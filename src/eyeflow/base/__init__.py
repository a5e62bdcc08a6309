"""Small things that every layer may use: errors, diagnostics, durations, near names."""
