"""Tenants over HTTP: the platform's own doors (``app``), and an application's requests led to their tenants.

Import from the modules. FastAPI and uvicorn come with the extra ``http`` and are loaded by the modules that need them,
so importing this package loads neither.
"""
