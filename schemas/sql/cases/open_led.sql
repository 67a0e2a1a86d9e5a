SELECT case_id FROM xinliu.case_state WHERE ended_at IS NULL AND lead = %(province)s ORDER BY case_id
