"""The laboratory over HTTP: every route with its permission, every request in its tenant and its laboratory."""
