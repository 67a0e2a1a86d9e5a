"""Importing files: CSV, XLSX and JSON Lines into statements, with every error of every row."""
