"""File formats: the kind of a file, and its content as a table. A process of its own reads workbooks."""
