"""The manifest (对账清单): counts and digests that a department and the platform compute alike."""
