"""`status.<province>`: each province's published and applied checkpoints, written by it and read by the others."""
