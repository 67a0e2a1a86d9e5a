"""China's clock, the working days of the State Council's calendar, and periods counted from a date."""
