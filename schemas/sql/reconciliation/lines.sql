INSERT INTO manifest_lines (department, domain, kind, manifest_id, part, body)
VALUES (%(department)s, %(domain)s, %(kind)s, %(manifest_id)s, %(part)s, %(body)s)
ON CONFLICT (department, domain, kind, manifest_id, part) DO NOTHING
