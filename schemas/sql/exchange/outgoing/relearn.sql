-- Messages in the topic after this database's last checkpoint become the shared state: the others have them, whatever a
-- restored database remembers. Only those that outrank the stored state. told.sql follows.
WITH changed AS MATERIALIZED (
    SELECT f.*, s.partition AS held_partition, s.domain AS held_domain, s.digest_hi AS held_hi, s.digest_lo AS held_lo,
           COALESCE(s.state = 'SHARED', false) AS shared
    FROM jsonb_to_recordset(%(rows)s) AS f (
        record_id uuid, department text, partition smallint, epoch bigint, state text, kind text, domain text, uscc text,
        version bigint, digest_hi bigint, digest_lo bigint, status text
    )
    LEFT JOIN xinliu.shared_record s USING (record_id, department)
    WHERE s.epoch IS NULL
       OR (f.epoch, f.version, f.digest_hi, f.digest_lo) > (s.epoch, s.version, s.digest_hi, s.digest_lo)
)
