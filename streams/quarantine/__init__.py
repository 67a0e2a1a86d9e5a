"""The quarantine: its entries, decisions about them, the redrive that carries decisions out, and settlement."""
