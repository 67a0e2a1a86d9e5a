-- What stands in a slice of `record` and of history, in numbers that differ where a row does: a slice that was found right is
-- looked at again once one of them has changed. PostgreSQL's own hash of whole rows: it means nothing outside this session.
SELECT (SELECT (count(*), COALESCE(sum(hash_record_extended(r, 0)), 0))::text FROM record r WHERE record_id BETWEEN %(first)s AND %(last)s),
       (SELECT (count(*), COALESCE(sum(hash_record_extended(h, 0)), 0))::text
        FROM record_history h WHERE record_id BETWEEN %(first)s AND %(last)s)
