"""Files that a command or a server makes: private files, and output files that are written atomically."""
