"""Routes: ways on which documents leave and files arrive, over the file system, SFTP, HTTP or S3."""
