"""What a worker shows: metrics, the HTTP endpoint, health and readiness, partitions that nobody reads."""
