"""The audit: what was done, by whom and why, as a chain that shows whatever is changed in it afterwards."""
