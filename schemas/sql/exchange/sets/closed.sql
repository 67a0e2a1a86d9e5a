-- Sets that are equal at the last checkpoint are requested no more, and their named differences are mended.
WITH closed AS (
    UPDATE exchange_difference d
    SET closed_at = f.checked_at
    FROM foreign_domain f
    WHERE d.closed_at IS NULL AND f.province = d.province AND f.partition = d.partition AND f.domain = d.domain AND f.equal
      AND f.checked_at > d.opened_at
    RETURNING d.province, d.difference
), answered AS (
    DELETE FROM exchange_request r USING foreign_domain f
    WHERE f.province = r.province AND f.partition = r.partition AND f.domain = r.domain AND f.equal
)
SELECT province, difference, count(*) FROM closed GROUP BY 1, 2
