"""Integrity: the audits of tables, history and quarantine against history, log and topic; and the repair."""
