"""The database of a province: connections and migrations, generations, roles and limits, and whether it is as shipped."""
