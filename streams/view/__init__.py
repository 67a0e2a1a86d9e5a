"""The view stage: folds `accepted` and `quarantine` by the current rules, without statements that were cut off."""
