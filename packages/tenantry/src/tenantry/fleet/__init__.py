"""Many tenants at once: rollouts of revisions, and places made ready before they are asked for.

Each tenant is changed by the same means as one alone, and is whole at every moment; what is done to many is recorded in
the registry, one outcome per tenant.
"""

from __future__ import annotations
