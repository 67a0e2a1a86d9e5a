"""Kafka logs, whoever reads them: records and their headers, ranges, a partition reader, single messages."""
