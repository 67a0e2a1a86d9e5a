"""A rebuild: a new generation from `accepted`, in lanes, throttled in favour of the live view."""
