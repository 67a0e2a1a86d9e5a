-- Figures of some records: their number, penalties and listings in force, and the XOR of their digests.
SELECT count(*) FILTER (WHERE status <> 'WITHDRAWN') AS records,
       count(*) FILTER (WHERE status = 'IN_FORCE' AND kind = 'PENALTY') AS penalties,
       count(*) FILTER (WHERE status = 'IN_FORCE' AND kind = 'LISTING' AND listing_removed_on IS NULL) AS listings,
       COALESCE(bit_xor(digest_hi), 0) AS digest_hi, COALESCE(bit_xor(digest_lo), 0) AS digest_lo
FROM record WHERE record_id = ANY(%(ids)s)
