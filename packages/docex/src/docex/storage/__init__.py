"""Where the contents of documents are kept."""
