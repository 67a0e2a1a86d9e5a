"""Changes of a record that was published before: which record, its next version, and publishing it."""
