"""A rebuild: a new generation from `accepted`, in lanes, throttled for the live view's sake."""
