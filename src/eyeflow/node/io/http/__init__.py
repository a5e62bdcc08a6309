"""Webhooks as a source, requests as a driver."""
