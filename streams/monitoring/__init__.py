"""Monitoring of a worker: metrics, the HTTP endpoint, health and readiness, partitions that nobody reads."""
