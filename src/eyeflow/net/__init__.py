"""TCP servers and bodies with bounds: who may connect, for how long, and how much is read."""
