"""The console of every command: options, command groups, tables, hints, and what a person types for a key or a time."""
