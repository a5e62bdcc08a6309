"""What a node tells people of itself: status, log of its ports, audit records."""
