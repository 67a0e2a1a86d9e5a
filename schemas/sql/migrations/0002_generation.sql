-- What 0001 made before the whole life of a record was told; every statement may be run again. The files generation.sql and
-- shared.sql hold the newest state, for generations and databases that are made today.
ALTER TABLE record ADD COLUMN IF NOT EXISTS disputed_since date;
ALTER TABLE record ADD COLUMN IF NOT EXISTS penalty_level text;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_entity_kind text;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_since date;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_until date;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_name_since date;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_former_names text;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_authority_name text;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_remark text;

-- Where entities are registered (经营主体登记): one row for each entity and province. The latest since is where it is
-- registered now; of two of one day the higher rank.
CREATE OR REPLACE VIEW registration AS
SELECT record_id, uscc, subject_name AS name, subject_kind, registration_entity_kind AS entity_kind, province,
       registration_since AS since, registration_until AS until, registration_name_since AS name_since,
       registration_former_names AS former_names, registration_authority_name AS authority_name,
       registration_remark AS remark, department, authority, version, digest_hi, digest_lo, stated_at, known_at,
       row_number() OVER (
           PARTITION BY uscc ORDER BY registration_since DESC, version DESC, digest_hi DESC, digest_lo DESC
       ) = 1 AS current
FROM record
WHERE kind = 'REGISTRATION' AND status = 'IN_FORCE';

-- Name and kind as the registry has them; where it has none, as the entity's record that was stated last. A revoked
-- registration names nobody.
CREATE OR REPLACE VIEW entity AS
SELECT s.uscc, COALESCE(r.name, s.name) AS name, COALESCE(r.entity_kind, s.kind) AS kind, s.stated_at,
       CASE WHEN r.uscc IS NULL THEN 'STATEMENT' ELSE 'REGISTRY' END AS name_source,
       r.province, r.since, r.until, r.name_since, r.former_names
FROM (
    SELECT DISTINCT ON (uscc) uscc, subject_name AS name, subject_kind AS kind, stated_at
    FROM record
    WHERE kind <> 'REGISTRATION' OR status = 'IN_FORCE'
    ORDER BY uscc, stated_at DESC, digest_hi DESC, digest_lo DESC
) s
LEFT JOIN registration r ON r.uscc = s.uscc AND r.current;
