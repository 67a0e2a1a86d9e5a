-- Temporary tables of the differences between two generations, for one session.
CREATE TEMPORARY TABLE IF NOT EXISTS turned (
    uscc text COLLATE "C", province text COLLATE "C", domain text COLLATE "C",
    old_records integer, old_penalties integer, old_listings integer, old_pending boolean,
    new_records integer, new_penalties integer, new_listings integer, new_pending boolean,
    explained boolean NOT NULL DEFAULT false
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS changed (
    record_id uuid, province text, department text, domain text, old_uscc text COLLATE "C", new_uscc text COLLATE "C",
    change text, old_status text, new_status text, old_version bigint, new_version bigint, codes text[], fields jsonb, later boolean
) ON COMMIT DELETE ROWS;
