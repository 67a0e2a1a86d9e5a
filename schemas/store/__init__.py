"""The database of a province: connections and migrations, generations, roles and limits, and checks against the shipped
state."""
