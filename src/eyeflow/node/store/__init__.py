"""The node's durable store: one SQLite file and the thread that writes it."""
