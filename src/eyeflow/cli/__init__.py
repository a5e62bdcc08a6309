"""The eyeflow command: the only place that prints or exits."""
