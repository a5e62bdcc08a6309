"""`python -m eyeflow` is the same as `eyeflow`."""

from eyeflow.cli.main import main

main()
