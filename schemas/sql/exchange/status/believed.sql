-- A status counts where it is newer than what that province said before; no row comes back where it is not.
UPDATE xinliu.peer_heard SET told_at = %(told_at)s, received_at = %(received_at)s
WHERE province = %(province)s AND (told_at IS NULL OR told_at < %(told_at)s)
RETURNING 1
