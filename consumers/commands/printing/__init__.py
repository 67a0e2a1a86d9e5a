"""Credit views in a terminal: both editions, and their common parts."""
