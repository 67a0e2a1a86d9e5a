-- How far a question has been answered: the bucket to go on from; NULL: whole.
UPDATE xinliu.exchange_wanted
SET next_bucket = %(next_bucket)s, answered_at = clock_timestamp()
WHERE asked_by = %(asked_by)s AND partition = %(partition)s AND domain = %(domain)s
