"""A department's side of reconciliation (对账): its manifest, from files or outbox, and the platform's answers."""
