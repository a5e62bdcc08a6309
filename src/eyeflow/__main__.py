"""`python -m eyeflow` is the same as `eyeflow`."""

from eyeflow.cli.launch import main

main()
