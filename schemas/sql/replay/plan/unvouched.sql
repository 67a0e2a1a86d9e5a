-- Removal of a cut-off province's checkpoints: until new ones arrive, its domains are 未归集. Its next statement about
-- pending entries is newer than the sequence of any forged one.
WITH heard AS (
    DELETE FROM applied_checkpoint WHERE province = %(province)s
), waits AS (
    UPDATE foreign_pending SET sequence = LEAST(sequence, (extract(epoch FROM now()) * 1000)::bigint)
    WHERE province = %(province)s
)
DELETE FROM foreign_domain WHERE province = %(province)s
