"""The contracts: format (Avro), meaning (rules, catalogue), storage (SQL), and shared tools. Imports no other room."""
