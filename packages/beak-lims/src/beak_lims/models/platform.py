"""The tables that Beak LIMS keeps beside the tenant registry, in the platform's schema: none so far.

They stand apart from a tenant's tables and never refer to them: no platform user is a tenant's user.
"""

from __future__ import annotations

from sqlalchemy import MetaData

from beak_lims.models.base import NAMING

metadata = MetaData(naming_convention=NAMING)
