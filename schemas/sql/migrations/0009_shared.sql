-- What 0004 made has one chain, of the topic operations: it stays as it is, and the others stand beside it.
ALTER TABLE xinliu.audit ADD COLUMN IF NOT EXISTS topic text NOT NULL DEFAULT 'operations';
ALTER TABLE xinliu.audit DROP CONSTRAINT IF EXISTS audit_pkey;
ALTER TABLE xinliu.audit ADD CONSTRAINT audit_pkey PRIMARY KEY (topic, sequence);
