"""What a promotion would change: two generations compared, explained and reported."""
