"""Tables in WHONET's form, read into rows of the catalog."""
