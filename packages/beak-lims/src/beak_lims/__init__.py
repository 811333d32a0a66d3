"""Beak LIMS: a laboratory information system for many organisations on one PostgreSQL server.

A tenant is an organisation with a schema of its own; inside it stand its laboratories. Provisioning, migrating and
guarding tenants is the work of the engine, :mod:`tenantry`; this package holds what a laboratory knows. Importing it
imports nothing heavy and connects to nothing.
"""
