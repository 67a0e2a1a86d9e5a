"""Statements before they are sent: encoding, the checks that intake will make, and refusals of invalid ones."""
