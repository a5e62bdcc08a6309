"""The host's side of the serial link to a board: frames, codec, session, port. docs/serial-link.md.

It stands below `mcu` and `node`: a command pushes a program with it, and so does a node that is the gateway of a board.
"""
