"""From a rule's source to a program, without I/O."""
