"""Readers: the credit view for the report service, the feed of changes. This package imports schemas only."""
