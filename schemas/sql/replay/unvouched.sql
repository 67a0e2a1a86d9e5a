-- What a province that was cut off vouched for counts no more: until it has said anew what it shares, its domains
-- are 未归集.
WITH heard AS (DELETE FROM applied_checkpoint WHERE province = %(province)s)
DELETE FROM foreign_domain WHERE province = %(province)s
