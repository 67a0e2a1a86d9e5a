"""What provinces exchange: what is shared, what is received of the others, and what is said of it."""
