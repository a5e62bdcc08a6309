"""Language models as a driver."""
