"""The rows of a table: which are records, the parties of each, its cells as a statement, its errors and repairs."""
