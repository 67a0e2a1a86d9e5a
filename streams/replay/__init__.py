"""Replay: what operators recompute from the topics, and how a generation comes to serve."""
