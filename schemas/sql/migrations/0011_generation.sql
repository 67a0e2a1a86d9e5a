-- Registrations that provinces contest (schemas/sql/generation.sql); every statement may be run again.
CREATE OR REPLACE VIEW registration AS
SELECT record_id, uscc, name, subject_kind, entity_kind, province, since, until, name_since, former_names, authority_name,
       remark, department, authority, version, digest_hi, digest_lo, stated_at, known_at, begun AND place = 1 AS current,
       begun AND place > 1 AND first_value(open AND NOT settled) OVER held AND (open OR since > first_value(since) OVER held)
           AS contested
FROM (
    SELECT *, row_number() OVER (
                  PARTITION BY uscc
                  ORDER BY begun DESC, open AND settled DESC, open AND own DESC, open DESC, since DESC, version DESC,
                           digest_hi DESC, digest_lo DESC
              ) AS place
    FROM (
        SELECT DISTINCT ON (r.uscc, r.province)
               r.record_id, r.uscc, r.subject_name AS name, r.subject_kind, r.registration_entity_kind AS entity_kind, r.province,
               r.registration_since AS since, r.registration_until AS until, r.registration_name_since AS name_since,
               r.registration_former_names AS former_names, r.registration_authority_name AS authority_name,
               r.registration_remark AS remark, r.department, r.authority, r.version, r.digest_hi, r.digest_lo, r.stated_at,
               r.known_at,
               r.registration_since <= (now() AT TIME ZONE 'Asia/Shanghai')::date AS begun,
               COALESCE(r.registration_until > (now() AT TIME ZONE 'Asia/Shanghai')::date, true) AS open,
               r.province IS NOT DISTINCT FROM (SELECT i.province FROM xinliu.installation i) AS own,
               r.province IS NOT DISTINCT FROM (
                   SELECT d.detail ->> 'province' FROM xinliu.audit d
                   WHERE d.kind = 'REGISTRATION_SETTLED' AND d.detail ->> 'uscc' = r.uscc
                     AND d.topic NOT IN ('operations.workers', 'operations.steward') AND d.at <= now()
                   ORDER BY d.at DESC, d.topic, d.sequence DESC LIMIT 1
               ) AS settled
        FROM record r
        WHERE r.kind = 'REGISTRATION' AND r.status = 'IN_FORCE'
        ORDER BY r.uscc, r.province, r.version DESC, r.digest_hi DESC, r.digest_lo DESC
    ) stands
) ranked
WINDOW held AS (PARTITION BY uscc ORDER BY place);

CREATE OR REPLACE VIEW entity AS
SELECT s.uscc, COALESCE(r.name, s.name) AS name, COALESCE(r.entity_kind, s.kind) AS kind, s.stated_at,
       CASE WHEN r.uscc IS NULL THEN 'STATEMENT' ELSE 'REGISTRY' END AS name_source,
       r.province, r.since, r.until, r.name_since, r.former_names
FROM (
    SELECT DISTINCT ON (uscc) uscc, subject_name AS name, subject_kind AS kind, stated_at
    FROM record
    WHERE status = 'IN_FORCE' OR kind <> 'REGISTRATION' AND status <> 'WITHDRAWN'
    ORDER BY uscc, province IS NOT DISTINCT FROM (SELECT i.province FROM xinliu.installation i) DESC, stated_at DESC,
             digest_hi DESC, digest_lo DESC
) s
LEFT JOIN registration r ON r.uscc = s.uscc AND r.current;
