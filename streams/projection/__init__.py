"""The projection: the pure fold, and one batch of `accepted` into the tables of a generation, with its positions."""
