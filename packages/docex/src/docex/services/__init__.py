"""The work on a tenant's tables: baskets, documents, metadata. Each call is one short transaction."""
