"""The daemon that runs programs, with its sources, actions and durable store."""
