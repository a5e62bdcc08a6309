"""`eyeflow-svm.toml`, `EYEFLOW_*` and flags, read strictly into one frozen configuration."""
