"""JSON lines of serial ports as a source."""
