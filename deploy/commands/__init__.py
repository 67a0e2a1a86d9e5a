"""The commands that start, describe, check and secure an installation."""
