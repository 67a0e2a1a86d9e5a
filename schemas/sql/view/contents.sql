-- Which of these contents a record states already.
SELECT DISTINCT content_key FROM record WHERE content_key = ANY(%s)
