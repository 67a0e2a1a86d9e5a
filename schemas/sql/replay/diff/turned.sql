-- Entities and domains of these buckets whose credit views differ.
INSERT INTO turned
SELECT uscc, province, domain, o.records, o.penalties, o.listings,
       EXISTS (SELECT FROM {old}.quarantine q WHERE q.state = 'OPEN' AND q.uscc = COALESCE(o.uscc, n.uscc) AND q.domain = COALESCE(o.domain, n.domain)),
       n.records, n.penalties, n.listings,
       EXISTS (SELECT FROM {new}.quarantine q WHERE q.state = 'OPEN' AND q.uscc = COALESCE(o.uscc, n.uscc) AND q.domain = COALESCE(o.domain, n.domain))
FROM (SELECT * FROM {old}.credit_view WHERE hashtext(uscc) & %(mask)s = ANY(%(buckets)s)) o
FULL JOIN (SELECT * FROM {new}.credit_view WHERE hashtext(uscc) & %(mask)s = ANY(%(buckets)s)) n USING (uscc, province, domain)
WHERE (o.records, o.penalties, o.listings, o.digest_hi, o.digest_lo) IS DISTINCT FROM (n.records, n.penalties, n.listings, n.digest_hi, n.digest_lo)
