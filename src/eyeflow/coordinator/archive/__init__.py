"""The second copy of the audit of each node: verified as it comes, kept in bounds, read by people."""
