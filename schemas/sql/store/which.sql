SELECT CASE WHEN s.generation IN ({}) THEN s.generation
    ELSE ('generation ' || s.generation || ' was dropped while this transaction went on: begin it again')::integer END
FROM xinliu.serving s
