-- Count of a generation's statements, records and entities; erased statements are no longer in the log.
SELECT (SELECT count(*) FROM record_history WHERE statement IS NOT NULL) AS events,
       (SELECT count(*) FROM record) AS records,
       (SELECT count(DISTINCT uscc) FROM credit_view) AS entities,
       ARRAY(SELECT DISTINCT uscc FROM credit_view ORDER BY uscc LIMIT %(first)s) AS first_entities
