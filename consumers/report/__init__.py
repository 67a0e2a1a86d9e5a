"""The credit view for readers: one snapshot, the states of the domains, records with their periods, a token."""
