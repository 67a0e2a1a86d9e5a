"""The outbox relay: publishes receipts and changes that the view's transactions left."""
