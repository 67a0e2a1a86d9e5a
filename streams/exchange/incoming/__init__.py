"""Other provinces' exchanges: intake examines them for `accepted`, the view applies them with each batch."""
