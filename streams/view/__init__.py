"""The view: the stage that folds `accepted` and `quarantine`, by today's rules, without what is cut off."""
