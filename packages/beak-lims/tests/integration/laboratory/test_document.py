"""Whatever is sent to a route of the laboratories, the answer is one that the document declares: no 5xx, no other form.

Schemathesis makes the requests out of the OpenAPI document, valid ones and broken ones, with an administrator's token.
"""

from __future__ import annotations

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

from ...conftest import Actor, Installation

FEW = 1  # cases of a route in every run of the tests, valid and broken ones by turns
MANY = 15  # of a route and mode in the soak
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ENDS_THE_SESSION = ("/auth/logout", "/auth/password", "/sessions")


def fuzz(installation: Installation, examples: int) -> Counter[str]:
    """Send so many cases of every route and mode, or few of one mode; how many there were."""
    document = installation.app.openapi()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries underneath
        schema = schemathesis.openapi.from_dict(document)
    session = requests.Session()
    actors = [installation.actor(superuser=True), installation.actor(superuser=True)]
    known = some_rows(actors[0])
    origin = str(installation.client.base_url)
    sent: Counter[str] = Counter()
    for number, found in enumerate(schema.get_all_operations()):
        operation = found.ok()
        # A route that takes nothing has nothing that could be wrong: then a valid case is sent.
        modes = [GenerationMode.NEGATIVE, GenerationMode.POSITIVE]
        for mode in modes[number % 2 :] if examples == FEW else modes:
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
                if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
                    told = case.path_parameters or {}
                    prefix = case.path.partition("{")[0]
                    case.path_parameters = {name: known.get(prefix, value) for name, value in told.items()}
                headers = {**actors[0].headers, "X-Org-Slug": "alpha"}
                case.headers = {}
                answer = case.call(base_url=origin, session=session, headers=headers, timeout=60)
                sent[case.operation.label] += 1
                if answer.status_code == 401 or case.path.endswith(ENDS_THE_SESSION):
                    actors[0] = installation.actor(superuser=True)
                case.validate_response(answer, checks=CHECKS)

            try:
                run()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE
                continue
            if examples == FEW:
                break
    return sent


def some_rows(actor: Actor) -> dict[str, str]:
    """A row of some of the lists, so that not every path leads nowhere."""
    client = actor.post("/clients", {"name": "Clinic", "code": "CLINIC"})["uid"]
    made = {
        "/countries": {"name": "Zimbabwe", "code": "ZW"},
        "/units": {"name": "mmol/L"},
        "/sample-types": {"name": "Blood", "abbr": "BL"},
        "/analyses": {"name": "Glucose", "keyword": "GLU"},
        "/profiles": {"name": "Sugar", "keyword": "SUG"},
        "/patients": {"first_name": "Ada", "last_name": "Byron", "client_uid": client},
        "/groups": {"name": "Couriers", "keyword": "COURIERS"},
    }
    found = {path: actor.post(path, body)["uid"] for path, body in made.items()} | {"/clients": client}
    return {f"/api/v1{path}/": uid for path, uid in found.items()}


@pytest.mark.timeout(600)
def test_no_answer_is_outside_the_document(installation: Installation) -> None:
    sent = fuzz(installation, FEW)
    assert len(sent) >= 150


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_none_of_five_thousand_answers_is_outside_the_document(installation: Installation) -> None:
    sent = fuzz(installation, MANY)
    assert sent.total() >= 5_000, sent
