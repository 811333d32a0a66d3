"""Making tenants before their first access."""

from docex.provisioning.tenant_provisioner import TenantProvisioner

__all__ = ["TenantProvisioner"]
