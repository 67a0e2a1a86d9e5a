-- Possible duplicates and erased contents are found through indexes however alike the data are, as generation.sql says; every
-- statement may be run again.
DROP INDEX IF EXISTS record_content_key;
CREATE INDEX IF NOT EXISTS record_content_of_company ON record (content_key, uscc, record_id)
    WHERE content_key IS NOT NULL AND status = 'IN_FORCE' AND epoch = 0;
CREATE INDEX IF NOT EXISTS record_content_of_number
    ON record (content_key, (COALESCE(penalty_document_number, listing_entry_id)), record_id)
    WHERE content_key IS NOT NULL AND status = 'IN_FORCE' AND epoch = 0;
DROP INDEX IF EXISTS record_history_revoked;
CREATE INDEX IF NOT EXISTS record_history_ended ON record_history (record_id, version)
    WHERE status = 'REVOKED' OR epoch > 0 AND status <> 'IN_FORCE';
