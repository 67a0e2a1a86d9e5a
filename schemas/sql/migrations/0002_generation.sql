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
ALTER TABLE record_history ADD COLUMN IF NOT EXISTS department text;
ALTER TABLE record_history ADD COLUMN IF NOT EXISTS reason text;
ALTER TABLE record_history ADD COLUMN IF NOT EXISTS received_at timestamptz;
ALTER TABLE record_history ADD COLUMN IF NOT EXISTS decided_on date;
ALTER TABLE input_progress ADD COLUMN IF NOT EXISTS marked_at timestamptz;
CREATE INDEX IF NOT EXISTS quarantine_day ON quarantine (((received_at AT TIME ZONE 'Asia/Shanghai')::date));
CREATE TABLE IF NOT EXISTS quality_day (
    day        date NOT NULL,
    department text NOT NULL,
    measure    text NOT NULL CHECK (measure IN ('ACCEPTED', 'CORRECTED', 'CONFLICT', 'PUBLISHED', 'VISIBLE')),
    bucket     smallint NOT NULL,
    shard      smallint NOT NULL,
    n          bigint NOT NULL,
    PRIMARY KEY (day, department, measure, bucket, shard)
);
CREATE OR REPLACE VIEW source_marked AS
SELECT s.department, max(p.marked_at) AS marked_at
FROM source s LEFT JOIN input_progress p USING (topic, topic_id)
GROUP BY s.department;
CREATE OR REPLACE VIEW quality_count AS
SELECT day, department, measure, bucket, sum(n)::bigint AS n
FROM quality_day
GROUP BY day, department, measure, bucket
UNION ALL
SELECT (received_at AT TIME ZONE 'Asia/Shanghai')::date, department, 'REFUSED', 0::smallint, count(*)
FROM quarantine
WHERE state NOT IN ('REDRIVEN', 'OVERRIDDEN')
GROUP BY 1, 2;
CREATE OR REPLACE VIEW quality_lateness AS
SELECT p.day, p.department, p.day - p.bucket AS decided_on, p.n,
       p.bucket = 61 OR (p.bucket > 0 AND before_receipt.ordinal - decision.ordinal >= 7) AS late
FROM quality_count p
LEFT JOIN xinliu.workday before_receipt ON before_receipt.day = p.day - 1
LEFT JOIN xinliu.workday decision ON decision.day = p.day - p.bucket
WHERE p.measure = 'PUBLISHED';
