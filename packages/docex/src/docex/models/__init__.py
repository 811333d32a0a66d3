"""What DocEX keeps: the tables of one tenant, and the values read from them."""
