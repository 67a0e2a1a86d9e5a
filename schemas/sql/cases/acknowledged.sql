-- The other provinces' acknowledgement of the repair or revocation that answered a case, if the record is ours and was shared.
SELECT province, state, published_at, due_at, acknowledged_at
FROM xinliu.exchange_duty_state
WHERE (record_id, department, version) = (%(record_id)s, %(department)s, %(version)s)
ORDER BY province, epoch
