"""The values of cells: text, dates, amounts and codes as people and databases write them; each repair is named."""
