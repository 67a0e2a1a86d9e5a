"""The commands of readers: a credit view, the quality of sources, the state of reconciliation, exchange and links."""
