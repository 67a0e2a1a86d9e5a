-- Accept a status if it is newer than that province's last one; otherwise no row comes back.
UPDATE xinliu.peer_heard SET told_at = %(told_at)s, received_at = %(received_at)s
WHERE province = %(province)s AND (told_at IS NULL OR told_at < %(told_at)s)
RETURNING 1
