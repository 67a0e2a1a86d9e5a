"""Settings, the local servers, topics as code."""
