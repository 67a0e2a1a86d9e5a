"""Anti-entropy: a differing set of another province is requested, answered, compared and closed."""
