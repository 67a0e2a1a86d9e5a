-- Records with more than one statement in history: only they need comparisons.
CREATE TABLE rebuild_again AS SELECT record_id FROM record_history GROUP BY record_id HAVING count(*) > 1
