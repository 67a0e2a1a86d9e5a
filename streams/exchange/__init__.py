"""The exchange between provinces: our own log, the logs of the others, and the status of all."""
