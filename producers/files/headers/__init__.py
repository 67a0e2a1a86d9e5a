"""The headers of a table: their place, the field of each, and unknown columns that may not be ignored."""
