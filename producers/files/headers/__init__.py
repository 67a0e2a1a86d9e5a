"""The headers of a table: where they stand, which field each one means, and which unknown ones may not be ignored."""
