"""A targeted correction: some records as the log makes them by today's rules, in the serving generation."""
