"""Maximum lengths of texts, in characters: the form's own lengths if they are known, otherwise generous ones."""

from __future__ import annotations

__all__ = ["TEXT_LIMITS"]

TEXT_LIMITS = {
    "subject_name": 200,
    "penalty_registration_number": 50,
    "penalty_organisation_code": 32,
    "penalty_tax_number": 32,
    "penalty_institution_number": 120,
    "penalty_social_organisation_number": 50,
    "penalty_legal_representative": 50,
    "penalty_document_number": 128,
    "penalty_violation_type": 2_000,
    "penalty_facts": 20_000,
    "penalty_basis": 20_000,
    "penalty_categories": 400,
    "penalty_content": 20_000,
    "penalty_licence": 200,
    "penalty_authority_name": 200,
    "penalty_source_unit": 200,
    "penalty_remark": 4_000,
    "listing_entry_id": 128,
    "listing_grounds": 20_000,
    "listing_basis": 20_000,
    "listing_authority_name": 200,
    "listing_legal_representative": 50,
    "listing_remark": 4_000,
    "registration_entity_kind": 40,
    "registration_former_names": 4_000,
    "registration_authority_name": 200,
    "registration_remark": 4_000,
}
"""Field of the flat frame → maximum length."""
