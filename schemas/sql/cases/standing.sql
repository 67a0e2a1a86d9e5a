SELECT case_id, lead, record_status, held_version, disputed_since, marked_at, arrived_at, registered_in, led_rightly
FROM case_standing
WHERE case_id = ANY(%(cases)s)
