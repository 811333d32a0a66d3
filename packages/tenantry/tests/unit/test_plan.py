"""Plans as plain values: how they are cut into transactions, and that nothing is lost when they are kept as JSON."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from tenantry.migrations.plan import Kind, Plan, Step

values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary())
parameters = st.one_of(st.lists(values).map(tuple), st.dictionaries(st.text(min_size=1), values))
steps = st.builds(
    Step,
    st.text(min_size=1),
    st.none() | st.text(min_size=1),
    st.sampled_from(Kind),
    st.lists(st.tuples(st.text(), parameters)).map(tuple),
)
plans = st.builds(Plan, st.text(), st.none() | st.text(), st.none() | st.text(), st.lists(steps).map(tuple))


def step(revision: str, kind: Kind) -> Step:
    return Step(revision, revision, kind, ((f"statement of {revision}", ()),))


@given(plans)
def test_plan_is_the_same_after_it_was_kept_as_json(plan) -> None:
    assert Plan.from_body(json.loads(json.dumps(plan.to_body()))) == plan


@given(st.lists(st.sampled_from(Kind), max_size=8))
def test_legs_are_the_steps_in_order_and_what_leaves_the_transaction_stands_alone(kinds) -> None:
    plan = Plan("d", None, "z", tuple(step(f"r{n}", kind) for n, kind in enumerate(kinds)))
    legs = list(plan.legs())
    assert tuple(one for leg in legs for one in leg) == plan.steps
    for leg in legs:
        assert len(leg) == 1 or all(one.kind is not Kind.AUTOCOMMIT for one in leg)
    for before, after in itertools.pairwise(legs):
        assert Kind.AUTOCOMMIT in (before[-1].kind, after[0].kind)


def test_only_a_plan_without_python_is_replayable() -> None:
    assert Plan("d", None, "b", (step("a", Kind.REPLAY), step("b", Kind.REPLAY))).replayable
    assert Plan("d", None, None, ()).replayable
    assert not Plan("d", None, "b", (step("a", Kind.REPLAY), step("b", Kind.PYTHON))).replayable
    assert not Plan("d", None, "a", (step("a", Kind.AUTOCOMMIT),)).replayable
