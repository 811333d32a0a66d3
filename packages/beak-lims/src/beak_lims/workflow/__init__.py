"""What may follow what: the states of samples, results and worksheets, as data."""
