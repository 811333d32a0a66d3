"""What a laboratory does, as plain functions of a session and the context of the work."""
