"""The topics of operations: what people decided, who they are, and the second person that a decision needs."""
