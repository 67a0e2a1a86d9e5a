"""The exchanges of other provinces: examined on the way to `accepted`, and applied with the batch that folds them."""
