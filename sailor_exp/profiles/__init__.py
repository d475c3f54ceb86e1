"""What a cell can measure: each profile's part that runs in a rank, and the registry of all of them."""
