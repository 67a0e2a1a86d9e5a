-- Credit views of some entities, and whether they have open quarantine entries.
SELECT uscc, province, domain, records, penalties, listings, digest_hi, digest_lo,
       EXISTS (SELECT FROM quarantine q WHERE q.state = 'OPEN' AND q.uscc = v.uscc AND q.domain = v.domain) AS pending
FROM credit_view v WHERE uscc = ANY(%(usccs)s)
