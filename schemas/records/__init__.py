"""Records: their identity and partition, registrations, and rows that a department refused itself."""
