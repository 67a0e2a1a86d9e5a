-- Lines that came and are not compared yet.
INSERT INTO manifest_lines (department, domain, kind, manifest_id, part, body)
SELECT department, domain, kind, manifest_id, part, body FROM {old}.manifest_lines
