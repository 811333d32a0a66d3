"""Processors: what takes something out of a document, in a child process that may fail without harm."""
