"""Whatever is sent to a door, the answer is one that the document declares: no 5xx, no body of another form.

Schemathesis makes the requests out of the OpenAPI document, valid ones and broken ones, with an administrator's token.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .conftest import Doors

FEW = 5  # cases of a route and mode in every run of the tests
MANY = 120  # in the soak: more than 5,000 in all
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ENDS_THE_SESSION = ("/auth/logout",)


def fuzz(doors: Doors, examples: int) -> Counter[str]:
    """Send so many cases of every route and mode; how many there were."""
    iam = doors.tenancy.iam
    iam.add_user(f"fuzz{os.urandom(4).hex()}@example.org", None, ["administrator"], password="Correct-Horse-8")
    document = requests.get(f"{doors.base}/openapi.json", timeout=30).json()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries underneath
        schema = schemathesis.openapi.from_dict(document)
    session = requests.Session()
    token = [doors.token("administrator")]
    sent: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)

            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=examples == FEW,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=strategy)
            def run(case: schemathesis.Case) -> None:
                answer = case.call(base_url=doors.origin, session=session, headers=doors.bearer(token[0]), timeout=60)
                sent[case.operation.label] += 1
                if answer.status_code in (401, 403) or case.path.endswith(ENDS_THE_SESSION):
                    token[0] = doors.token("administrator")
                case.validate_response(answer, checks=CHECKS)

            try:
                run()
            except Unsatisfiable:  # a route that takes nothing has nothing that could be wrong
                assert mode is GenerationMode.NEGATIVE
    assert doors.tenancy.registry.verify_audit() == []
    assert {tenant.status.value for tenant in doors.tenancy.list()} <= {"active", "failed"}
    return sent


@pytest.mark.timeout(600)
def test_no_answer_is_outside_the_document(doors: Doors) -> None:
    sent = fuzz(doors, FEW)
    assert len(sent) >= 26


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_none_of_five_thousand_answers_is_outside_the_document(doors: Doors) -> None:
    sent = fuzz(doors, MANY)
    assert sent.total() >= 5_000, sent
