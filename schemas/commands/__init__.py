"""The commands that show and register contracts, rules and the catalogue."""
