-- A pass of the sweep has ended, for the conditions of its start: the day, and these mutual domains with their days.
INSERT INTO xinliu.swept AS before (generation, domains, swept_at)
SELECT %(generation)s, ARRAY(
    SELECT domain FROM xinliu.mutual_domain
    WHERE %(today)s BETWEEN effective_from AND COALESCE(effective_to, 'infinity') ORDER BY 1
), clock_timestamp()
WHERE %(domains)s::text[] = ARRAY(SELECT concat_ws(' ', domain, effective_from, effective_to) FROM xinliu.mutual_domain ORDER BY 1)
ON CONFLICT (singleton) DO UPDATE SET
    generation = excluded.generation, domains = excluded.domains, swept_at = excluded.swept_at
