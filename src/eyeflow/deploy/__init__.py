"""Keys, and the strategies that move nodes from one program to another."""
