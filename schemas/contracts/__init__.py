"""The contracts: Avro schemas, their registry and evolution, and bodies as bytes, records and columns."""
