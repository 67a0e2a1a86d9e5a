"""Intake: examines messages of departments in batches and forwards them; it stops or throttles those that flood."""
