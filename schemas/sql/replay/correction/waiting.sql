-- Of which of these entities and domains something waits in the quarantine.
SELECT DISTINCT uscc, domain FROM quarantine WHERE state = 'OPEN' AND uscc = ANY(%(usccs)s)
