-- Carries over records in which sets of other provinces differed: closed differences, and those of sets that still differ.
INSERT INTO exchange_difference (
    province, partition, domain, record_id, department, difference, shared_epoch, shared_version, held_epoch, held_version,
    opened_at, closed_at
)
SELECT o.province, o.partition, o.domain, o.record_id, o.department, o.difference, o.shared_epoch, o.shared_version, o.held_epoch,
       o.held_version, o.opened_at, o.closed_at
FROM {old}.exchange_difference o
WHERE (o.closed_at IS NOT NULL OR EXISTS (
    SELECT FROM exchange_request r WHERE (r.province, r.partition, r.domain) = (o.province, o.partition, o.domain)
)) AND NOT EXISTS (
    SELECT FROM exchange_difference n
    WHERE (n.province, n.partition, n.domain, n.record_id, n.department, n.opened_at)
        = (o.province, o.partition, o.domain, o.record_id, o.department, o.opened_at)
)
ON CONFLICT DO NOTHING
