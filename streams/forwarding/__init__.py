"""From an examined message to `accepted` or `quarantine`: findings, masking, what is kept of a value, the producer."""
