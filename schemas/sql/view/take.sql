-- The fold is a maximum: a statement is taken only where its rank is above what is held, whatever came first.
-- What a record gains in one entity's view it loses in another's in this same statement (a correction may move it).
-- Sorted by key, because unsorted concurrent batches deadlock. `known` are the rows whose record was there before.
WITH taken AS (
    INSERT INTO record AS held (
        record_id, version, digest_hi, digest_lo, kind, status, reason, uscc, subject_name, subject_kind,
        province, domain, department, authority, stated_at, penalty_registration_number,
        penalty_organisation_code, penalty_tax_number, penalty_institution_number,
        penalty_social_organisation_number, penalty_legal_representative, penalty_document_number,
        penalty_violation_type, penalty_facts, penalty_basis, penalty_categories, penalty_content,
        penalty_fine, penalty_confiscated, penalty_licence, penalty_decided_on, penalty_valid_until,
        penalty_publish_until, penalty_authority_name, penalty_source_unit, penalty_source_unit_code,
        penalty_remark, listing_list, listing_entry_id, listing_grounds, listing_basis,
        listing_authority_name, listing_legal_representative, listing_listed_on, listing_valid_until,
        listing_removed_on, listing_removal_reason, listing_remark, content_key, known_at
    )
    SELECT
        record_id, version, digest_hi, digest_lo, kind, status, reason, uscc, subject_name, subject_kind,
        province, domain, department, authority, stated_at, penalty_registration_number,
        penalty_organisation_code, penalty_tax_number, penalty_institution_number,
        penalty_social_organisation_number, penalty_legal_representative, penalty_document_number,
        penalty_violation_type, penalty_facts, penalty_basis, penalty_categories, penalty_content,
        penalty_fine, penalty_confiscated, penalty_licence, penalty_decided_on, penalty_valid_until,
        penalty_publish_until, penalty_authority_name, penalty_source_unit, penalty_source_unit_code,
        penalty_remark, listing_list, listing_entry_id, listing_grounds, listing_basis,
        listing_authority_name, listing_legal_representative, listing_listed_on, listing_valid_until,
        listing_removed_on, listing_removal_reason, listing_remark, content_key,
        known_at
    FROM stage
    ORDER BY record_id
    ON CONFLICT (record_id) DO UPDATE SET
        version = excluded.version, digest_hi = excluded.digest_hi, digest_lo = excluded.digest_lo, kind =
        excluded.kind, status = excluded.status, reason = excluded.reason, uscc = excluded.uscc, subject_name
        = excluded.subject_name, subject_kind = excluded.subject_kind, province = excluded.province, domain =
        excluded.domain, department = excluded.department, authority = excluded.authority, stated_at =
        excluded.stated_at, penalty_registration_number = excluded.penalty_registration_number,
        penalty_organisation_code = excluded.penalty_organisation_code, penalty_tax_number =
        excluded.penalty_tax_number, penalty_institution_number = excluded.penalty_institution_number,
        penalty_social_organisation_number = excluded.penalty_social_organisation_number,
        penalty_legal_representative = excluded.penalty_legal_representative, penalty_document_number =
        excluded.penalty_document_number, penalty_violation_type = excluded.penalty_violation_type,
        penalty_facts = excluded.penalty_facts, penalty_basis = excluded.penalty_basis, penalty_categories =
        excluded.penalty_categories, penalty_content = excluded.penalty_content, penalty_fine =
        excluded.penalty_fine, penalty_confiscated = excluded.penalty_confiscated, penalty_licence =
        excluded.penalty_licence, penalty_decided_on = excluded.penalty_decided_on, penalty_valid_until =
        excluded.penalty_valid_until, penalty_publish_until = excluded.penalty_publish_until,
        penalty_authority_name = excluded.penalty_authority_name, penalty_source_unit =
        excluded.penalty_source_unit, penalty_source_unit_code = excluded.penalty_source_unit_code,
        penalty_remark = excluded.penalty_remark, listing_list = excluded.listing_list, listing_entry_id =
        excluded.listing_entry_id, listing_grounds = excluded.listing_grounds, listing_basis =
        excluded.listing_basis, listing_authority_name = excluded.listing_authority_name,
        listing_legal_representative = excluded.listing_legal_representative, listing_listed_on =
        excluded.listing_listed_on, listing_valid_until = excluded.listing_valid_until, listing_removed_on =
        excluded.listing_removed_on, listing_removal_reason = excluded.listing_removal_reason, listing_remark
        = excluded.listing_remark, content_key = excluded.content_key, known_at = excluded.known_at
    WHERE (excluded.version, excluded.digest_hi, excluded.digest_lo) > (held.version, held.digest_hi, held.digest_lo)
    RETURNING
        old.record_id AS old_record_id, old.uscc AS old_uscc, old.domain AS old_domain,
        (old.status = 'IN_FORCE' AND old.kind = 'PENALTY')::integer AS old_penalty,
        (old.status = 'IN_FORCE' AND old.kind = 'LISTING' AND old.listing_removed_on IS NULL)::integer AS old_listing,
        old.digest_hi AS old_digest_hi, old.digest_lo AS old_digest_lo,
        new.record_id AS record_id, new.uscc AS uscc, new.domain AS domain, new.status AS status,
        (new.status = 'IN_FORCE' AND new.kind = 'PENALTY')::integer AS penalty,
        (new.status = 'IN_FORCE' AND new.kind = 'LISTING' AND new.listing_removed_on IS NULL)::integer AS listing,
        new.digest_hi AS digest_hi, new.digest_lo AS digest_lo, new.known_at AS known_at
), delta AS (
    SELECT old_uscc AS uscc, old_domain AS domain, -1 AS records, -old_penalty AS penalties, -old_listing AS listings,
           old_digest_hi AS digest_hi, old_digest_lo AS digest_lo, known_at
    FROM taken WHERE old_record_id IS NOT NULL
    UNION ALL
    SELECT uscc, domain, 1, penalty, listing, digest_hi, digest_lo, known_at FROM taken
), viewed AS (
    INSERT INTO credit_view AS held (uscc, domain, records, penalties, listings, digest_hi, digest_lo, changed_at)
    SELECT uscc, domain, sum(records), sum(penalties), sum(listings), bit_xor(digest_hi), bit_xor(digest_lo), max(known_at)
    FROM delta
    GROUP BY uscc, domain
    ORDER BY uscc, domain
    ON CONFLICT (uscc, domain) DO UPDATE SET
        records = held.records + excluded.records,
        penalties = held.penalties + excluded.penalties,
        listings = held.listings + excluded.listings,
        digest_hi = held.digest_hi # excluded.digest_hi,
        digest_lo = held.digest_lo # excluded.digest_lo,
        changed_at = GREATEST(held.changed_at, excluded.changed_at)
    RETURNING uscc, domain, records
), moved AS (
    INSERT INTO former_entity (uscc, record_id)
    SELECT old_uscc, record_id FROM taken WHERE old_uscc <> uscc
    ON CONFLICT DO NOTHING
), announced AS (
    INSERT INTO outbox (kind, payload)
    SELECT 'CHANGES', jsonb_build_object('uscc', jsonb_agg(DISTINCT uscc)) FROM viewed HAVING count(*) > 0
)
SELECT (
           SELECT array_agg("row") FROM stage
           WHERE record_id NOT IN (SELECT record_id FROM taken WHERE old_record_id IS NULL)
       ) AS known,
       (SELECT array_agg(uscc) FROM viewed WHERE records = 0) AS emptied
