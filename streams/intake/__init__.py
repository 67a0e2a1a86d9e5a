"""Intake: examines the messages of departments batch by batch and forwards them; it stops or throttles departments that flood."""
