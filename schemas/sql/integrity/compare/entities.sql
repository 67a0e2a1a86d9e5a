-- The end of a slice of entities that begins behind a code: about so many rows on.
SELECT COALESCE(
    LEAST(
        (SELECT uscc FROM record WHERE (%(after)s::text IS NULL OR uscc > %(after)s) ORDER BY uscc OFFSET %(records)s LIMIT 1),
        (SELECT uscc FROM credit_view WHERE (%(after)s::text IS NULL OR uscc > %(after)s) ORDER BY uscc OFFSET %(records)s LIMIT 1)
    ),
    U&'\+10FFFF'
)
