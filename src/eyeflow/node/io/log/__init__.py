"""Lines in the node's log as a driver."""
