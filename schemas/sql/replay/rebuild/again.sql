-- Records of which more than one statement stands in history: only they have anything to be compared.
CREATE TABLE rebuild_again AS SELECT record_id FROM record_history GROUP BY record_id HAVING count(*) > 1
