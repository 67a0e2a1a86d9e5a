-- Entities and domains with open quarantine entries.
SELECT DISTINCT uscc, domain FROM quarantine WHERE state = 'OPEN' AND uscc = ANY(%(usccs)s)
