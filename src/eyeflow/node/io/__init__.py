"""The edges to the world: sources and drivers, a package for each kind, and what they share."""
