"""Platform users: those who manage tenants. They live in the control plane and are no user of any tenant.

Import from the modules: ``iam.users``, ``iam.roles``, ``iam.passwords``.
"""
