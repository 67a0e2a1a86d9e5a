"""What a log holds, whoever reads it: records and their headers, ranges, a partition reader, single messages."""
