"""Credit views in a terminal: both editions, and what they have in common."""
