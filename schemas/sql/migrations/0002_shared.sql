-- As 0002_generation.sql, for what all generations share; every statement may be run again.
CREATE TABLE IF NOT EXISTS xinliu.province (
    province text PRIMARY KEY,
    name_zh  text NOT NULL,
    division text NOT NULL  -- the first two digits of GB/T 2260
);
