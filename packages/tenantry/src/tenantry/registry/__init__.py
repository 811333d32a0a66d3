"""The control plane: which tenants exist, where each stands, what was done to them and by whom.

Import from the modules: ``registry.registry`` (the one object), ``registry.journal`` (what it returns),
``registry.actor`` (who acts). Nothing is imported here, so that naming who acts does not load SQLAlchemy.
"""
