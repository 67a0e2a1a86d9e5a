-- What the audit found in the tables themselves (docs/exchange.md): rows that were not what history, or the log, makes of them.
CREATE VIEW report.row_difference AS
SELECT relation, record_id, uscc, province, department, domain, partition, difference,
       CASE difference WHEN 'MISSING' THEN '缺失' WHEN 'EXTRA' THEN '多出' ELSE '被改' END AS difference_zh,
       fields, found_at, mended_at, how,
       CASE how WHEN 'HISTORY' THEN '依历史恢复' WHEN 'LOG' THEN '依日志恢复' WHEN 'ROWS' THEN '重新汇总' END AS how_zh
FROM serving.row_difference;

-- Records in which what was held of another province differed from what it shares.
CREATE VIEW report.exchange_difference AS
SELECT province, partition, domain, record_id, department, difference,
       CASE difference
           WHEN 'MISSING' THEN '缺失' WHEN 'EXTRA' THEN '多出' WHEN 'OLDER' THEN '版本较旧' WHEN 'NEWER' THEN '版本较新' ELSE '内容不一'
       END AS difference_zh,
       shared_epoch, shared_version, held_epoch, held_version, opened_at, closed_at
FROM serving.exchange_difference;

-- Sets of other provinces that differed at their last checkpoint, and how often they have been asked for.
CREATE VIEW report.exchange_unequal AS
SELECT f.province, f.partition, f.domain, f.records, f.held_records, f.made_at, f.checked_at, r.since, COALESCE(r.tries, 0) AS tries
FROM serving.foreign_domain f LEFT JOIN serving.exchange_request r USING (province, partition, domain)
WHERE NOT f.equal;
