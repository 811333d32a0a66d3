"""The configuration: what may stand in it, and the file it lies in."""
