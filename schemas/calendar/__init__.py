"""China's clock, the working days of the State Council's calendar, and the periods that are counted from a date."""
