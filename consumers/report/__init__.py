"""The credit view as a reader gets it: one snapshot, the states of the domains, records with their periods, a token."""
