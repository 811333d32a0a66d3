"""Groups of the command line that are long enough to stand by themselves."""
