"""One tenant as a thing: saved to a file, restored from it, copied, exported, suspended, archived, renamed, deleted.

Nothing here handles the revisions of a tenant, and nothing moves a tenant to another server.
"""

from tenantry.archive.files import FolderFiles, Kept, TenantFiles
from tenantry.archive.saving import Saved

__all__ = ["FolderFiles", "Kept", "Saved", "TenantFiles"]
