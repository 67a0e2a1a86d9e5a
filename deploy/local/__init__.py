"""A local stack: real servers of one province on this machine, from pinned artifacts, without Docker and without root."""
