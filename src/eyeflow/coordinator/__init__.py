"""The service that keeps the state of the cluster."""
