"""`eyeflow run`: recorded events through a rule, on a virtual clock."""
