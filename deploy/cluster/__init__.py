"""A province's cluster as code: topics, principals, rights and quotas, planned first and then applied."""
