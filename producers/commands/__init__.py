"""The commands of a department: publish, change, mark, receipts, refused, reconcile, outbox, sample."""
