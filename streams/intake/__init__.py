"""Intake: examines what departments publish, batch by batch, and forwards it; stops and paces those that flood."""
