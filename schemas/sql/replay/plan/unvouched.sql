-- What a province that was cut off vouched for counts no more: until it has said anew what it shares, its domains are
-- 未归集. What it says from now on of its pending entries is newer than whatever a forged one claimed to be.
WITH heard AS (
    DELETE FROM applied_checkpoint WHERE province = %(province)s
), waits AS (
    UPDATE foreign_pending SET sequence = LEAST(sequence, (extract(epoch FROM now()) * 1000)::bigint)
    WHERE province = %(province)s
)
DELETE FROM foreign_domain WHERE province = %(province)s
