"""The console of every command: options, command groups, tables, hints, and typed keys and times."""
