"""The commands of operators, and those that start the workers. Nothing imports them."""
