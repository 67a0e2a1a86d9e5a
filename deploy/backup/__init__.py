"""Backup and restore of a province's database, and the log entries that vouch for a backup."""
