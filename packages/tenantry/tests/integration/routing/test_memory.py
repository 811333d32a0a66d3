"""A process that visited a thousand tenants holds little more than one that visited ten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from house import House

APPLICATION = Path(__file__).parent / "application"
MANY, FEW, ALLOWED = 1000, 10, 1.3

VISIT = """
import gc, json, sys
from canaries import *

kind, where, few, many = json.loads(sys.argv[1])
tenancy = open_tenancy(kind, where)

def visit(number):
    with tenancy.session(f"t{number}") as session:
        assert session.scalars(owner).all() == [f"t{number}"]
        session.execute(sa.insert(item).values(body="x"))

def resident():
    gc.collect()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

for _ in range(many // few):  # as many sessions as there will be, on few tenants
    for number in range(few):
        visit(number)
before = resident()
for number in range(many):
    visit(number)
print(json.dumps([before, resident()]))
tenancy.close()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks /proc for its memory")
def test_thousand_tenants_cost_little_more_memory_than_ten(house: House) -> None:
    house.provision(*(f"t{number}" for number in range(MANY)))
    given = json.dumps([house.kind, house.where, FEW, MANY])
    done = subprocess.run(
        [sys.executable, "-c", VISIT, given],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(APPLICATION)},
    )
    before, after = json.loads(done.stdout)
    assert after <= ALLOWED * before, f"{before} kB, then {after} kB"
