-- Fingerprints of a slice of `record` and of history, which differ if a row does: a slice that was found right is compared again
-- once one of them has changed. They use PostgreSQL's own hash of whole rows and mean nothing outside this session.
SELECT (SELECT (count(*), COALESCE(sum(hash_record_extended(r, 0)), 0))::text FROM record r WHERE record_id BETWEEN %(first)s AND %(last)s),
       (SELECT (count(*), COALESCE(sum(hash_record_extended(h, 0)), 0))::text
        FROM record_history h WHERE record_id BETWEEN %(first)s AND %(last)s)
