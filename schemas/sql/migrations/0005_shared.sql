-- Tables of few rows are analysed whenever one changes (shared.sql says why); every statement may be run again.
ALTER TABLE xinliu.serving SET (autovacuum_analyze_threshold = 0);
ALTER TABLE xinliu.domain SET (autovacuum_analyze_threshold = 0);
ALTER TABLE xinliu.domain_source SET (autovacuum_analyze_threshold = 0);
ALTER TABLE xinliu.list SET (autovacuum_analyze_threshold = 0);
ALTER TABLE xinliu.province SET (autovacuum_analyze_threshold = 0);
ALTER TABLE xinliu.level SET (autovacuum_analyze_threshold = 0);
ALTER TABLE xinliu.list_period SET (autovacuum_analyze_threshold = 0);
ALTER TABLE xinliu.report_window SET (autovacuum_analyze_threshold = 0);
ALTER TABLE xinliu.visibility SET (autovacuum_analyze_threshold = 0);
ALTER TABLE xinliu.deadline SET (autovacuum_analyze_threshold = 0);
ALTER TABLE xinliu.mutual_domain SET (autovacuum_analyze_threshold = 0);
ALTER TABLE xinliu.silence SET (autovacuum_analyze_threshold = 0);
ALTER TABLE xinliu.exchange_limit SET (autovacuum_analyze_threshold = 0);
ANALYZE xinliu.serving, xinliu.domain, xinliu.domain_source, xinliu.list, xinliu.province, xinliu.level, xinliu.list_period, xinliu.report_window, xinliu.visibility, xinliu.deadline, xinliu.mutual_domain, xinliu.silence, xinliu.exchange_limit;
