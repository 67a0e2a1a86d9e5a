"""Texts: digits in any script, invisible characters and terminal controls, and cells as a spreadsheet opens them."""
