-- Statements of a record that the rules refused when the generation was filled or corrected.
SELECT department, version, digest_hi, digest_lo, accepted_partition, accepted_offset, findings
FROM {schema}.replay_refused
WHERE record_id = %(hex)s
