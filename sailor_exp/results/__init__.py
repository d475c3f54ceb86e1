"""Each profile's results: from what its ranks measured to the record, to the files beside it, to the table."""
