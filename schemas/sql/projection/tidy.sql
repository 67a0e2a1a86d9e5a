-- An entity that lost its last record of a domain has no row for it, just as if it had never had one.
DELETE FROM credit_view WHERE records = 0 AND uscc = ANY(%(uscc)s)
