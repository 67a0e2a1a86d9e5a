"""How the servers of a province are reached, and as whom: Kafka, the schema registry, PostgreSQL."""
