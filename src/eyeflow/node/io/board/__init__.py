"""Parameters of rules on boards behind this node."""
