-- 数据对账 (docs/reconciliation.md): the newest manifest of each department, domain and kind of record, and the differences.
CREATE VIEW report.record_difference AS
SELECT department, domain, kind, record_id, difference,
       CASE difference
           WHEN 'MISSING' THEN '漏报' WHEN 'REFUSED' THEN '未入库' WHEN 'CONTENT' THEN '错报'
           WHEN 'OLDER_HERE' THEN '平台版本较旧' WHEN 'NEWER_HERE' THEN '平台版本较新' ELSE '部门未列'
       END AS difference_zh,
       stated_version, held_version, reasons, manifest_id, opened_at, closed_at
FROM serving.record_difference;

-- stated: 归集条数 as the department counts, held: 入库条数 in the manifest's months, outside: beside them. wanted: buckets
-- (of about 64 records) that differ and whose records nobody has named yet. equal: count and set digest.
CREATE VIEW report.reconciliation AS
SELECT m.department, m.domain, m.kind, m.manifest_id, m.state, m.message, m.made_at, m.received_at, m.compared_at,
       m.first_period, m.last_period, m.stated, m.held, m.outside, cardinality(m.wanted) AS wanted,
       (m.stated, m.stated_hi, m.stated_lo) IS NOT DISTINCT FROM (m.held, m.held_hi, m.held_lo) AS equal,
       d.missing, d.content, d.refused, d.older_here, d.newer_here, d.unknown, d.open_since, d.last_closed
FROM (
    SELECT DISTINCT ON (department, domain, kind) *
    FROM serving.manifest
    ORDER BY department, domain, kind, received_at DESC
) m
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE closed_at IS NULL AND difference = 'MISSING') AS missing,
           count(*) FILTER (WHERE closed_at IS NULL AND difference = 'CONTENT') AS content,
           count(*) FILTER (WHERE closed_at IS NULL AND difference = 'REFUSED') AS refused,
           count(*) FILTER (WHERE closed_at IS NULL AND difference = 'OLDER_HERE') AS older_here,
           count(*) FILTER (WHERE closed_at IS NULL AND difference = 'NEWER_HERE') AS newer_here,
           count(*) FILTER (WHERE closed_at IS NULL AND difference = 'UNKNOWN') AS unknown,
           min(opened_at) FILTER (WHERE closed_at IS NULL) AS open_since, max(closed_at) AS last_closed
    FROM serving.record_difference d
    WHERE d.department = m.department AND d.domain = m.domain AND d.kind = m.kind
) d ON true;
