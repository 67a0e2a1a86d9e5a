-- Guarded upsert: the fold is a maximum. A statement replaces one with a lower rank, whatever came first; one with the same rank
-- only if it is to mend the row.
UPDATE record held
SET (
    version, digest_hi, digest_lo, kind, status, reason, uscc, subject_name, subject_kind, province, domain,
    department, authority, stated_at, disputed_since, penalty_registration_number, penalty_organisation_code,
    penalty_tax_number, penalty_institution_number, penalty_social_organisation_number,
    penalty_legal_representative, penalty_document_number, penalty_violation_type, penalty_facts, penalty_basis,
    penalty_categories, penalty_content, penalty_fine, penalty_confiscated, penalty_licence, penalty_decided_on,
    penalty_valid_until, penalty_publish_until, penalty_authority_name, penalty_source_unit,
    penalty_source_unit_code, penalty_remark, penalty_level, listing_list, listing_entry_id, listing_grounds,
    listing_basis, listing_authority_name, listing_legal_representative, listing_listed_on, listing_valid_until,
    listing_removed_on, listing_removal_reason, listing_remark, registration_entity_kind, registration_since,
    registration_until, registration_name_since, registration_former_names, registration_authority_name,
    registration_remark, content_key, known_at, epoch
) = ROW (
    stage.version, stage.digest_hi, stage.digest_lo, stage.kind, stage.status, stage.reason, stage.uscc,
    stage.subject_name, stage.subject_kind, stage.province, stage.domain, stage.department, stage.authority,
    stage.stated_at, stage.disputed_since, stage.penalty_registration_number, stage.penalty_organisation_code,
    stage.penalty_tax_number, stage.penalty_institution_number, stage.penalty_social_organisation_number,
    stage.penalty_legal_representative, stage.penalty_document_number, stage.penalty_violation_type,
    stage.penalty_facts, stage.penalty_basis, stage.penalty_categories, stage.penalty_content, stage.penalty_fine,
    stage.penalty_confiscated, stage.penalty_licence, stage.penalty_decided_on, stage.penalty_valid_until,
    stage.penalty_publish_until, stage.penalty_authority_name, stage.penalty_source_unit,
    stage.penalty_source_unit_code, stage.penalty_remark, stage.penalty_level, stage.listing_list,
    stage.listing_entry_id, stage.listing_grounds, stage.listing_basis, stage.listing_authority_name,
    stage.listing_legal_representative, stage.listing_listed_on, stage.listing_valid_until,
    stage.listing_removed_on, stage.listing_removal_reason, stage.listing_remark, stage.registration_entity_kind,
    stage.registration_since, stage.registration_until, stage.registration_name_since,
    stage.registration_former_names, stage.registration_authority_name, stage.registration_remark,
    stage.content_key, stage.known_at, stage.epoch
)
FROM stage
WHERE held.record_id = stage.record_id AND held.province = stage.province AND held.department = stage.department
  AND (stage.epoch, stage.version, stage.digest_hi, stage.digest_lo)
      >= (held.epoch, held.version, held.digest_hi, held.digest_lo)
