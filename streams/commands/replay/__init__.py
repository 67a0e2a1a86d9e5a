"""`xinliu replay …`: plan, approve, rebuild, compare, correct, promote and roll back."""
