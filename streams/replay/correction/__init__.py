"""A targeted correction: some records folded again from the log by the current rules, in the serving generation."""
