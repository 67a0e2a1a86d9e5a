"""The case desk: the log of cases, their docket in PostgreSQL, and what an operator may say next."""
