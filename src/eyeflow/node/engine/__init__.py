"""Runs programs: admission, queues, turns, executions, actions, and what happens when the disk refuses."""
