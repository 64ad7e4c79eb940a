"""Pictures; one place for figures, groups and saving."""
