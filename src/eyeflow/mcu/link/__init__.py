"""The host's side of the serial link to a board: frames, codec, session, port. docs/serial-link.md."""
