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
ALTER TABLE record DROP CONSTRAINT IF EXISTS record_pkey,
    ADD CONSTRAINT record_pkey PRIMARY KEY (record_id, province, department);
ALTER TABLE record_history ADD COLUMN IF NOT EXISTS province text, ADD COLUMN IF NOT EXISTS department text,
    ADD COLUMN IF NOT EXISTS reason text, ADD COLUMN IF NOT EXISTS disputed boolean, ADD COLUMN IF NOT EXISTS removed boolean;
UPDATE record_history h SET province = r.province, department = r.department
FROM record r WHERE r.record_id = h.record_id AND h.department IS NULL;
ALTER TABLE record_history ALTER COLUMN province SET NOT NULL, ALTER COLUMN department SET NOT NULL;
ALTER TABLE outbox DROP CONSTRAINT IF EXISTS outbox_kind_check,
    ADD CONSTRAINT outbox_kind_check CHECK (kind IN ('EXCEPTIONS', 'CHANGES', 'TOMBSTONES'));
CREATE INDEX IF NOT EXISTS quarantine_record ON quarantine (record_id) WHERE value IS NOT NULL;
-- What was revoked before tombstones were written: history holds no content any more, accepted still does.
INSERT INTO outbox (kind, payload)
SELECT 'TOMBSTONES', jsonb_agg(jsonb_build_array(accepted_partition, concat_ws('|',
    replace(record_id::text, '-', ''), version, lpad(to_hex(digest_hi), 16, '0') || lpad(to_hex(digest_lo), 16, '0'))))
FROM (SELECT *, row_number() OVER () / 1000 AS part FROM record_history WHERE statement IS NULL) erased
GROUP BY part;
