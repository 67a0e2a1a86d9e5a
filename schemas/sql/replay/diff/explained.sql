-- Marks each changed entity and domain that a changed record explains; deletes those whose records are all merely later.
WITH about AS (
    SELECT c.later, c.province, c.domain, e.uscc
    FROM changed c CROSS JOIN LATERAL unnest(ARRAY[c.old_uscc, c.new_uscc]) AS e (uscc)
    WHERE e.uscc IS NOT NULL AND c.change <> 'HISTORY'
), said AS (
    SELECT uscc, province, domain, bool_and(later) AS later FROM about GROUP BY 1, 2, 3
), gone AS (
    DELETE FROM turned t USING said s WHERE (t.uscc, t.province, t.domain) = (s.uscc, s.province, s.domain) AND s.later
)
UPDATE turned t SET explained = true
FROM said s WHERE (t.uscc, t.province, t.domain) = (s.uscc, s.province, s.domain) AND NOT s.later
