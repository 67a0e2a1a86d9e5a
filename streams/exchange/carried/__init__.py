"""Messages that the exchange carries beside statements: cases, pending entries, sets and checkpoints."""
