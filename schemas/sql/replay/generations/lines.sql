-- Carries over received manifest lines that are not compared yet.
INSERT INTO manifest_lines (department, domain, kind, manifest_id, part, body)
SELECT department, domain, kind, manifest_id, part, body FROM {old}.manifest_lines
