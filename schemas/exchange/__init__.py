"""The exchange between provinces, as both sides know it: topics, run hashes, and signing keys."""
