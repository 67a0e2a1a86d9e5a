"""The exchange between provinces, as both sides know it: topics, hashes of runs, and signing keys."""
