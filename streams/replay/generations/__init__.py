"""The cut-over between generations: catch-up, promotion, switch and rollback."""
