"""Replay: operators' recomputation from the topics, and the cut-over to another generation."""
