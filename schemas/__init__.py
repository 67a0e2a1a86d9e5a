"""The contracts: what is said (Avro), what it means (rules, catalogue), how it is kept (SQL). Imports no other room."""
