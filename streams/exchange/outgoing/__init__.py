"""Our own exchange: what is shared, the signed log `exchange.<own>`, and the sweep that finds what is missing."""
