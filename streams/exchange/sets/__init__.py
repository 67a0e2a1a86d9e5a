"""Anti-entropy: sets of another province that differ are asked for, answered, compared and closed."""
