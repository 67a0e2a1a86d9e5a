"""The commands of operators, and the workers. Nothing imports them."""
