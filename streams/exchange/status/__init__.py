"""`status.<province>`: how far each province has published and applied, written and read back."""
