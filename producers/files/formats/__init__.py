"""File formats: which kind a file is, and its content as a table. A workbook is read by a process of its own."""
