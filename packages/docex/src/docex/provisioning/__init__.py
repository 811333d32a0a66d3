"""Making tenants before their first access."""

from docex.provisioning.bootstrap import BootstrapTenantManager
from docex.provisioning.tenant_provisioner import TenantProvisioner

__all__ = ["BootstrapTenantManager", "TenantProvisioner"]
