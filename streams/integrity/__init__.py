"""Integrity: tables held against history, history against the log, the quarantine against its topic; and their repair."""
