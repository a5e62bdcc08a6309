"""The node's side of its cluster: joining, membership, the link to the coordinator."""
