"""The stream processors: intake, view and relay, on Faust. Imports schemas only."""
