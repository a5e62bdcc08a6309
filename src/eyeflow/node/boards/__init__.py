"""Boards behind this node: it owns their serial lines and speaks for them (docs/decisions/0023)."""
