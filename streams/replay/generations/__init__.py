"""Which generation serves: catch-up, promotion, switch and rollback."""
