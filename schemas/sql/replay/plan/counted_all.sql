-- All that a generation holds of the log: statements, bytes of them, records and entities; what was erased is not in the log any more.
SELECT (SELECT count(*) FROM record_history WHERE statement IS NOT NULL) AS events,
       (SELECT count(*) FROM record) AS records,
       (SELECT count(DISTINCT uscc) FROM credit_view) AS entities,
       ARRAY(SELECT DISTINCT uscc FROM credit_view ORDER BY uscc LIMIT %(first)s) AS first_entities
