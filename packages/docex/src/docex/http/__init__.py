"""DocEX over HTTP, for applications in other languages."""
