"""Everything that reads: the credit view for the report service, the feed of changes. Imports schemas only."""
