"""The changes of a promotion: two generations compared, explained and reported."""
