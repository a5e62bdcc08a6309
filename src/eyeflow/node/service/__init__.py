"""The node as a service of systemd: its unit, and what the daemon tells the service manager."""
