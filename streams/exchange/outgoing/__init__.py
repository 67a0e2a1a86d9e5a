"""Our own exchange: the shared records, the signed log `exchange.<own>`, and the sweep that finds missing records."""
