-- Empty rows of the credit view: an entity that lost its last record of a domain has no row for it, as if it never had one.
DELETE FROM credit_view WHERE records = 0 AND uscc = ANY(%(uscc)s)
