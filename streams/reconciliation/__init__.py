"""The platform's side of reconciliation (对账): manifests in PostgreSQL, compared with the view."""
