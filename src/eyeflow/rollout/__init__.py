"""Deployments as data, and one pure function (deployment, now) -> actions for each strategy."""
