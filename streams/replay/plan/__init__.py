"""The plan of a replay: request, scope, size, approval by a second person, the ledger of steps."""
