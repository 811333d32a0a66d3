"""What is known of the control plane without a database."""

from __future__ import annotations

import subprocess
import sys

from tenantry.registry import bootstrap
from tenantry.registry.revisions import REGISTRY_HEAD, REGISTRY_REVISIONS, VERSION_TABLE


def test_known_revisions_are_those_of_the_scripts_in_their_order() -> None:
    written = [script.revision for script in bootstrap.CHAIN.scripts.walk_revisions()]
    assert tuple(reversed(written)) == REGISTRY_REVISIONS
    assert bootstrap.CHAIN.head() == REGISTRY_HEAD


def test_version_table_is_not_the_applications() -> None:
    assert VERSION_TABLE != "alembic_version"


def test_registry_is_imported_without_alembic_and_without_a_driver() -> None:
    code = (
        "import sys, tenantry.registry.registry, tenantry.stores.faults\n"
        "print([name for name in ('alembic', 'psycopg', 'argon2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_actor_is_named_without_sqlalchemy() -> None:
    code = "import sys, tenantry.registry.actor; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
