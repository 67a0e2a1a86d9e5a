INSERT INTO record_history (
    record_id, version, digest_hi, digest_lo, status, uscc, known_at, accepted_partition, accepted_offset, writer, statement,
    province, department, reason, disputed, removed, received_at, decided_on, epoch
)
SELECT record_id, version, digest_hi, digest_lo, status, uscc, known_at, accepted_partition, accepted_offset, writer, statement,
       province, department, reason, disputed, removed, received_at, decided_on, epoch
FROM rebuild_carried
