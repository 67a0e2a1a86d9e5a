-- Sets that are requested now.
SELECT r.province, r.partition, r.domain, CASE WHEN GREATEST(f.records, f.held_records) <= %(small)s THEN 8 ELSE 12 END AS bits
FROM exchange_request r JOIN foreign_domain f USING (province, partition, domain)
WHERE NOT f.equal AND r.asked_at > clock_timestamp() - %(window)s::interval
ORDER BY r.asked_at, r.province, r.partition, r.domain
LIMIT %(most)s
