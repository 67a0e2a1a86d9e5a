"""Addresses and credentials of a province's servers: Kafka, the schema registry, PostgreSQL."""
