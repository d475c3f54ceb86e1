"""What a cell can measure: a folder for each profile, and what profiles share."""
