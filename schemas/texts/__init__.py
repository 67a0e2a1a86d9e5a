"""Texts: digits in any script, what is invisible or steers a terminal, and cells as a spreadsheet opens them."""
