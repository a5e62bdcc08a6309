"""Whether a program does worse than it may: counts of executions, tests that hold at any time, and the verdict."""
