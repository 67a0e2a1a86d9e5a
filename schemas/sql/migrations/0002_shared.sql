-- As 0002_generation.sql, for what all generations share; every statement may be run again.
SELECT 1;
