-- What generations made before operators could replay lack; every statement may be run again.
-- What today's rules refuse of what was accepted long ago (streams/view/current_rules.py): not folded into this generation. Texts only as
-- far as they may be kept.
CREATE TABLE IF NOT EXISTS replay_refused (
    record_id  text NOT NULL,
    version    bigint NOT NULL,
    digest_hi  bigint NOT NULL,
    digest_lo  bigint NOT NULL,
    uscc       text COLLATE "C",
    department text NOT NULL,
    accepted_partition smallint NOT NULL,
    accepted_offset    bigint NOT NULL,
    findings   jsonb NOT NULL,
    PRIMARY KEY (accepted_partition, accepted_offset)
);
