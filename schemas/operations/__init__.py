"""The topics of operations: people's decisions, their names, and the approval of a decision by a second person."""
