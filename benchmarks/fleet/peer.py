"""django-tenants on a part of the fleet: a program of its own, for an interpreter that has it.

``FLEET_DJANGO_PYTHON=/path/to/python make bench PARTS=fleet``; without, the section leaves it out and says so. It makes
tenants of 30 tables in the same database server, has ``migrate_schemas`` bring them a column and an index, and migrate
nothing; prints seconds per tenant, the start of Django left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

VARIABLE = "FLEET_DJANGO_PYTHON"
PART = 30  # tenants

SETTINGS = """
SECRET_KEY = "of a benchmark"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {{"default": {{"ENGINE": "django_tenants.postgresql_backend", **{database!r}}}}}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
SHARED_APPS = ["django_tenants", "django.contrib.contenttypes", "customers"]
TENANT_APPS = ["shop"]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS]
TENANT_MODEL, TENANT_DOMAIN_MODEL = "customers.Client", "customers.Domain"
"""

CUSTOMERS = """
from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Client(TenantMixin):
    name = models.CharField(max_length=100)


class Domain(DomainMixin):
    pass
"""

SHOP = """
from django.db import models

for number in range(30):
    fields = {"__module__": "shop.models", "name": models.CharField(max_length=255, db_index=True)}
    fields |= {f"quantity{n}": models.IntegerField(null=True) for n in range(5)}
    fields["created_at"] = models.DateTimeField(null=True, db_index=True)
    if number:
        fields["other"] = models.ForeignKey(f"Table{number - 1}", models.CASCADE)
    globals()[f"Table{number}"] = type(f"Table{number}", (models.Model,), fields)
"""

SMALL = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "{before}")]
    operations = [
        migrations.AddField("Table0", "extra{number}", models.CharField(max_length=40, null=True, db_index=True)),
    ]
"""

PROGRAM = """
import json, sys, time
import django

django.setup()
from django.core.management import call_command
from customers.models import Client

def seconds(*arguments):
    start = time.perf_counter()
    call_command("migrate_schemas", *arguments, tenant=True, verbosity=0, interactive=False)
    return time.perf_counter() - start

call_command("migrate_schemas", shared=True, verbosity=0, interactive=False)
for number in range(int(sys.argv[1])):
    Client(schema_name=f"t{number}", name=f"t{number}").save(verbosity=0)
small = sorted(seconds("shop", f"000{number}_small") for number in (2, 3, 4))
nothing = sorted(seconds() for _ in range(3))
print(json.dumps([small[1], nothing[1], django.get_version()]))
"""


@dataclass(frozen=True)
class Peer:
    """Seconds per tenant."""

    small: float
    nothing: float
    tenants: int
    versions: str


def measure(url: str, directory: Path, *, tenants: int = PART) -> Peer | None:
    """The peer's times in this empty database; None when it is not installed anywhere that was named."""
    interpreter = os.environ.get(VARIABLE)
    if not interpreter:
        return None
    _project(url, directory)
    environment = {**os.environ, "PYTHONPATH": str(directory), "DJANGO_SETTINGS_MODULE": "settings"}

    def run(*arguments: str) -> str:
        line = [interpreter, *arguments]
        return subprocess.run(line, cwd=directory, env=environment, check=True, capture_output=True, text=True).stdout

    # Only the first of shop's migrations while tenants are made: the small ones are what is measured.
    run("-m", "django", "makemigrations", "customers", "shop", "--name", "first")
    kept = {}
    for number in (2, 3, 4):
        before = "0001_first" if number == 2 else f"000{number - 1}_small"
        kept[f"000{number}_small.py"] = SMALL.format(before=before, number=number)
    program = PROGRAM.replace(
        "small = sorted",
        "from pathlib import Path\n"
        "for name, text in json.loads(sys.argv[2]).items():\n"
        "    Path('shop/migrations', name).write_text(text)\n"
        "small = sorted",
        1,
    )
    (directory / "program.py").write_text(program)
    small, nothing, django = json.loads(run("program.py", str(tenants), json.dumps(kept)).splitlines()[-1])
    found = run("-c", "from importlib.metadata import version; print(version('django-tenants'))").strip()
    return Peer(small / tenants, nothing / tenants, tenants, f"django-tenants {found}, Django {django}")


def _project(url: str, directory: Path) -> None:
    parts = sa.make_url(url)
    database = {
        "NAME": parts.database,
        "USER": parts.username,
        "PASSWORD": parts.password or "",
        "HOST": parts.host or str(parts.query.get("host", "")),
        "PORT": str(parts.port or parts.query.get("port", "")),
    }
    files = {
        "settings.py": SETTINGS.format(database=database),
        "customers/__init__.py": "",
        "customers/models.py": CUSTOMERS,
        "shop/__init__.py": "",
        "shop/models.py": SHOP,
    }
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    began = time.perf_counter()
    print(measure(sys.argv[1], Path(sys.argv[2])), f"in {time.perf_counter() - began:.0f} s")
