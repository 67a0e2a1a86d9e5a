"""What a record is: its identity and partition, registrations, and rows that a department refused itself."""
