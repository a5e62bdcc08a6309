"""What the coordinator keeps: `cluster_store` says what can be asked and done, `sqlite_*` do it with SQL."""
