-- The difference between wanted and shared records, for the records in `asked`. Begins a statement: told.sql and
-- share.sql write the difference, differing.sql only returns it.
-- wanted: a record in force should be shared; one without content (REPAIRED, REVOKED) follows if the record was shared
-- once, and is never published otherwise. leaves: goes out of the shared set, or out of its partition; enters: is
-- shared in a new epoch; follows: a newer statement of a shared record. A record that is as it should be has no row.
-- A record below its published rank (a restored database that is catching up) is left as it is until it has caught up.
-- MATERIALIZED: otherwise each use of wanted would query the registrations again.
WITH held AS MATERIALIZED (
    SELECT a.record_id, a.department, a.uscc, a.domain, a.kind, a.status, a.version, a.digest_hi, a.digest_lo,
           -- A partition that was not computed is that of the same entity.
           COALESCE(a.partition, CASE WHEN a.uscc = s.uscc THEN s.partition ELSE -1 END) AS partition,
           s.partition AS held_partition, s.epoch AS held_epoch, s.kind AS held_kind, s.domain AS held_domain,
           s.uscc AS held_uscc, s.version AS held_version, s.digest_hi AS held_hi, s.digest_lo AS held_lo,
           COALESCE(s.state = 'SHARED', false) AS shared,
           CASE WHEN a.status <> 'IN_FORCE' THEN s.record_id IS NOT NULL
                WHEN a.kind = 'REGISTRATION' THEN true
                WHEN a.domain <> ALL (ARRAY(
                    SELECT domain FROM xinliu.mutual_domain
                    WHERE %(today)s BETWEEN effective_from AND COALESCE(effective_to, 'infinity')
                )) THEN false
                -- Where any of the four says that it is registered now: whom it is contested between changes nothing.
                -- By its code where no province says.
                ELSE COALESCE(
                    (SELECT bool_or(COALESCE(o.until > %(today)s, true)) FROM (
                         SELECT DISTINCT ON (r.province) r.registration_since AS since, r.registration_until AS until
                         FROM record r WHERE r.uscc = a.uscc AND r.kind = 'REGISTRATION' AND r.status = 'IN_FORCE'
                         ORDER BY r.province, r.version DESC, r.digest_hi DESC, r.digest_lo DESC
                     ) o WHERE o.since <= %(today)s),
                    substr(a.uscc, 3, 2) = ANY (ARRAY(SELECT division FROM xinliu.province))
                )
           END AS wanted
    FROM asked a
    LEFT JOIN xinliu.shared_record s USING (record_id, department)
    -- A generation that does not serve tells nobody anything.
    WHERE (SELECT generation FROM xinliu.serving) = %(generation)s
), weighed AS MATERIALIZED (
    SELECT *, shared AND partition = held_partition AS stays,
           COALESCE((version, digest_hi, digest_lo) > (held_version, held_hi, held_lo), true) AS newer,
           COALESCE((version, digest_hi, digest_lo) < (held_version, held_hi, held_lo), false) AS behind,
           GREATEST(COALESCE(held_epoch + 1, 0), %(now)s) AS next
    FROM held
), decided AS (
    SELECT *, shared AND NOT (wanted AND stays) AS leaves, wanted AND stays AND newer AS follows,
           wanted AND NOT stays AS enters,
           -- Shared in another partition: withdrawn there in one epoch, shared here in the next.
           CASE WHEN wanted AND stays AND newer THEN held_epoch
                WHEN shared AND wanted AND NOT stays THEN next + 1
                ELSE next END AS epoch
    FROM weighed
    WHERE NOT behind AND ((wanted AND (newer OR NOT stays)) OR (shared AND NOT wanted))
), changed AS (
    SELECT record_id, department, epoch,
           CASE WHEN wanted THEN 'SHARED' ELSE 'WITHDRAWN' END AS state,
           CASE WHEN wanted THEN partition ELSE held_partition END AS partition,
           CASE WHEN wanted THEN kind ELSE held_kind END AS kind,
           CASE WHEN wanted THEN domain ELSE held_domain END AS domain,
           CASE WHEN wanted THEN uscc ELSE held_uscc END AS uscc,
           CASE WHEN wanted THEN version ELSE held_version END AS version,
           CASE WHEN wanted THEN digest_hi ELSE held_hi END AS digest_hi,
           CASE WHEN wanted THEN digest_lo ELSE held_lo END AS digest_lo,
           CASE WHEN wanted THEN status ELSE 'WITHDRAWN' END AS status,
           shared, held_partition, held_domain, held_hi, held_lo
    FROM decided
)
