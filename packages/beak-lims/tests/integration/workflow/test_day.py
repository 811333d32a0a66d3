"""A sample's way through the laboratory: registered, received, entered, judged, verified, approved - and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from beak_lims.errors import ChangeRefused, InputRejected, RecordNotFound, ReferenceRejected, WrongState
from beak_lims.models import (
    AnalysisRequest,
    AnalysisResult,
    AuditLog,
    IdSequence,
    ResultMutation,
    ResultVerification,
    Sample,
    Snapshot,
    SnapshotContent,
)
from beak_lims.services.requests import NewRequest, NewSample, add_analyses, register_request
from beak_lims.services.results import (
    Entry,
    cancel_results,
    reinstate_results,
    retest_result,
    submit_results,
    verify_results,
)
from beak_lims.services.samples import (
    cancel_samples,
    collect_samples,
    invalidate_sample,
    receive_samples,
    recover_samples,
    reinstate_samples,
    reject_samples,
    store_samples,
)

from .conftest import Bench, set_up


def test_request_is_registered_with_its_samples_results_and_copies(bench: Bench) -> None:
    with bench.at_work() as (session, context):
        samples = [
            NewSample(bench.uids["blood"], [bench.uids["crp"]], [bench.uids["profile"]], priority=2),
            NewSample(bench.uids["urine"], [bench.uids["cul"]]),
        ]
        made = register_request(session, context, NewRequest(bench.uids["patient"], samples, client_request_id="A-1"))
        year = datetime.now(UTC).year % 100
        assert made.request.request_id.startswith(f"AR{year}-0")
        assert [one.sample_id[:6] for one in made.samples] == [f"S{year}AA-"] * 2
        assert [one.status for one in made.samples] == ["received", "received"]
        assert made.samples[0].received_by_uid == bench.uids["ann"]
        assert [one.status for one in made.results] == ["pending"] * 4
        assert {one.priority for one in made.results if one.sample_uid == made.samples[0].uid} == {2}
        # The sample is due when the last of its results is.
        assert made.samples[0].due_date == max(r.due_date for r in made.results[:3])
        subjects = [made.request.uid, *(one.uid for one in made.samples), *(one.uid for one in made.results)]
        versions = session.scalars(select(Snapshot).where(Snapshot.subject_uid.in_(subjects))).all()
        assert {(one.version, one.occasion, one.taken_by) for one in versions} == {(1, "registration", "ann")}
        assert len(versions) == 7
    with bench.at_work() as (session, _):
        kinds = session.scalars(select(AuditLog.target_type).where(AuditLog.target_uid.in_(subjects))).all()
        assert sorted(kinds) == ["analysis_request"] + ["analysis_result"] * 4 + ["sample"] * 2


def test_equal_set_up_is_copied_once_and_no_copy_names_the_patient(bench: Bench) -> None:
    made = [bench.register(("glu", "pot")) for _ in range(3)]
    hashes = {one.snapshot_hash for registered in made for one in registered.results}
    assert len(hashes) == 2
    with bench.at_work() as (session, _):
        request = made[0].request
        told = session.scalars(
            select(SnapshotContent.content).where(SnapshotContent.hash == request.snapshot_hash)
        ).one()
        assert told["patient"] == {
            "uid": bench.uids["patient"],
            "patient_id": told["patient"]["patient_id"],
            "gender": "female",
            "age": None,
        }
        every = str([*session.scalars(select(SnapshotContent.content)), *session.scalars(select(Snapshot.identity))])
        for secret in ("Secretname", "Tendai", "1990-05-01", "0770123456"):
            assert secret not in every


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ({"patient_uid": "0" * 32}, ReferenceRejected),
        ({"client_uid": "0" * 32}, ReferenceRejected),
        ({"samples": ()}, InputRejected),
        ({"sample_type_uid": "0" * 32}, ReferenceRejected),
        ({"analyses": ["0" * 32]}, ReferenceRejected),
        ({"analyses": []}, InputRejected),
        ({"analyses": ["cul"]}, InputRejected),  # not done in blood
        ({"priority": 9}, InputRejected),
        ({"date_collected": datetime(2026, 1, 1)}, InputRejected),  # noqa: DTZ001 - that is what is refused
    ],
)
def test_refused_request_leaves_nothing_and_no_gap(bench: Bench, broken: dict, error: type[Exception]) -> None:  # type: ignore[type-arg]
    with bench.at_work() as (session, _):
        before = session.execute(select(IdSequence.prefix, IdSequence.number).order_by(IdSequence.prefix)).all()
        requests = session.scalar(select(func.count()).select_from(AnalysisRequest))
    asked = {"sample_type_uid": bench.uids["blood"], "analyses": [bench.uids["glu"]]}
    new = {"patient_uid": bench.uids["patient"]}
    for name, value in broken.items():
        if name == "analyses":
            value = [bench.uids.get(one, one) for one in value]
        (new if name in ("patient_uid", "client_uid", "samples") else asked)[name] = value
    new.setdefault("samples", [NewSample(**asked)])  # type: ignore[arg-type]
    with pytest.raises(error), bench.at_work() as (session, context):
        register_request(session, context, NewRequest(**new))  # type: ignore[arg-type]
    with bench.at_work() as (session, _):
        assert session.execute(select(IdSequence.prefix, IdSequence.number).order_by(IdSequence.prefix)).all() == before
        assert session.scalar(select(func.count()).select_from(AnalysisRequest)) == requests


def test_clients_number_is_taken_once(bench: Bench) -> None:
    new = NewRequest(
        bench.uids["patient"], [NewSample(bench.uids["blood"], [bench.uids["glu"]])], client_request_id="B-1"
    )
    with bench.at_work() as (session, context):
        first = register_request(session, context, new).request.request_id
    refusal = f"'B-1' is registered already, as {first}"
    with pytest.raises(ChangeRefused, match=refusal), bench.at_work() as (session, context):
        register_request(session, context, new)


def test_values_are_judged_by_sex_age_and_method(bench: Bench) -> None:
    # 5.3 is high for a woman (3.9 - 5.1), normal for a man and by the wet method (4.0 - 6.0).
    woman, man, wet = bench.register(("glu",)), bench.register(("glu",), patient="man"), bench.register(("glu",))
    bench.submit(woman, glu="5.3")
    bench.submit(man, glu="5.3")
    with bench.at_work() as (session, context):
        submit_results(
            session,
            context,
            [
                Entry(
                    wet.results[0].uid,
                    "5.3",
                    method_uid=bench.uids["wet"],
                    laboratory_instrument_uid=bench.uids["device"],
                )
            ],
        )
    judged = [bench.result(one.results[0].uid) for one in (woman, man, wet)]
    assert [one.flag for one in judged] == ["high", "normal", "normal"]
    assert [one.judgement["specification"]["max"] for one in judged if one.judgement] == ["5.1", "5.5", "6"]
    assert judged[2].snapshot_version == 2
    with bench.at_work() as (session, _):
        used = session.scalars(
            select(SnapshotContent.content).where(SnapshotContent.hash == judged[2].snapshot_hash)
        ).one()["used"]
    assert used["laboratory_instrument"]["serial_number"] == "SN-1"
    assert used["method"]["uid"] == bench.uids["wet"]
    assert judged[0].result == "5.3"
    assert bench.sample(woman.samples[0].uid).status == "awaiting"


def test_each_step_of_a_value_is_told(bench: Bench) -> None:
    values = {"0.5": "< 0.6", "2": "2.20 +/- 0.5", "400": "> 300"}
    for entered, reported in values.items():
        made = bench.register(("crp",))
        bench.submit(made, crp=entered)
        result = bench.result(made.results[0].uid)
        assert (result.entered, result.result) == (entered, reported)
        with bench.at_work() as (session, _):
            steps = session.execute(
                select(ResultMutation.step, ResultMutation.before, ResultMutation.after)
                .where(ResultMutation.analysis_result_uid == result.uid)
                .order_by(ResultMutation.ordinal)
            ).all()
        assert steps[0].step == "correction"
        assert steps[0].before == entered
        assert steps[-1].after == reported


def test_values_are_kept_encrypted(bench: Bench) -> None:
    made = bench.register(("glu",))
    bench.submit(made, glu="4.7")
    with bench.at_work() as (session, _):
        raw = session.connection().exec_driver_sql(
            "SELECT entered, result FROM analysis_result WHERE uid = %s", (made.results[0].uid,)
        )
        assert all("4.7" not in value and len(value) > 30 for value in raw.one())


def test_changed_range_does_not_reach_a_registered_result(bench: Bench) -> None:
    made = bench.register(("pot",))
    with bench.at_work(None) as (session, _):
        session.connection().exec_driver_sql(
            "UPDATE specification SET max = 4.0 WHERE analysis_uid = %s", (bench.uids["pot"],)
        )
    try:
        bench.submit(made, pot="4.5")
        assert bench.result(made.results[0].uid).flag == "normal"
        late = bench.register(("pot",))
        bench.submit(late, pot="4.5")
        assert bench.result(late.results[0].uid).flag == "high"
    finally:
        with bench.at_work(None) as (session, _):
            session.connection().exec_driver_sql(
                "UPDATE specification SET max = 5.0 WHERE analysis_uid = %s", (bench.uids["pot"],)
            )


@pytest.mark.parametrize(
    ("analysis", "value"),
    [("glu", "five"), ("glu", "5,3"), ("glu", "NaN"), ("glu", " "), ("hiv", "Maybe"), ("dip", "x" * 256)],
)
def test_refused_value_leaves_all_results_pending(bench: Bench, analysis: str, value: str) -> None:
    made = bench.register(("pot", analysis))
    with pytest.raises(InputRejected):
        bench.submit(made, **{"pot": "4.0", analysis: value})
    assert {bench.result(one.uid).status for one in made.results} == {"pending"}
    assert bench.sample(made.samples[0].uid).status == "received"


def test_who_entered_a_value_does_not_verify_it_unless_a_setting_says_so(bench: Bench) -> None:
    made = bench.register(("glu",))
    bench.submit(made, glu="4.5")
    with pytest.raises(ChangeRefused, match="you entered it"):
        bench.verify(made, "ann")
    assert bench.result(made.results[0].uid).status == "resulted"
    bench.setting(allow_self_verification=True)
    try:
        bench.verify(made, "ann")
    finally:
        bench.setting(allow_self_verification=False)
    assert bench.sample(made.samples[0].uid).status == "approved"
    own = bench.register(("dip",))
    bench.submit(own, dip="clear")
    bench.verify(own, "ann")
    assert bench.result(own.results[0].uid).status == "approved"


def test_two_verifications_are_of_two_people(bench: Bench) -> None:
    made = bench.register(("hiv",))
    bench.submit(made, hiv="Positive")
    assert bench.result(made.results[0].uid).flag == "abnormal"
    bench.verify(made, "bob")
    waiting = bench.result(made.results[0].uid)
    assert (waiting.status, waiting.frozen_at) == ("resulted", None)
    with pytest.raises(ChangeRefused, match="you verified it already"):
        bench.verify(made, "bob")
    bench.verify(made, "cat")
    result, sample = bench.result(made.results[0].uid), bench.sample(made.samples[0].uid)
    assert (result.status, sample.status) == ("approved", "approved")
    assert None not in (result.frozen_at, sample.frozen_at)
    with bench.at_work() as (session, _):
        by = session.scalars(
            select(ResultVerification.user_uid)
            .where(ResultVerification.analysis_result_uid == result.uid)
            .order_by(ResultVerification.ordinal)
        ).all()
        request = session.scalars(select(AnalysisRequest).where(AnalysisRequest.uid == made.request.uid)).one()
        assert request.frozen_at is not None
    assert by == [bench.uids["bob"], bench.uids["cat"]]
    with pytest.raises(WrongState, match="is approved"):
        bench.verify(made, "ann")


def test_nobody_verifies_without_being_somebody(bench: Bench) -> None:
    made = bench.register(("glu",))
    bench.submit(made, glu="4.5")
    with pytest.raises(ChangeRefused, match="by a person"), bench.at_work(None) as (session, context):
        verify_results(session, context, [made.results[0].uid])


@pytest.mark.parametrize("keep", [True, False])
def test_retest_takes_the_sample_back_and_begins_without_a_value(bench: Bench, keep: bool) -> None:
    made = bench.register(("glu", "pot"))
    bench.submit(made, glu="9.9", pot="4.0")
    assert bench.sample(made.samples[0].uid).status == "awaiting"
    with bench.at_work("bob") as (session, context):
        again = retest_result(session, context, made.results[0].uid, "Implausible", keep=keep).uid
    original, child = bench.result(made.results[0].uid), bench.result(again)
    assert (original.status, original.reportable) == ("approved" if keep else "retracted", False)
    assert (child.status, child.parent_uid, child.retest, child.entered, child.flag) == (
        "pending",
        original.uid,
        True,
        None,
        None,
    )
    assert child.snapshot_hash == original.snapshot_hash
    assert bench.sample(made.samples[0].uid).status == "received"
    with bench.at_work() as (session, context):
        submit_results(session, context, [Entry(again, "4.4")])
    with bench.at_work("bob") as (session, context):
        verify_results(session, context, [again, made.results[1].uid])
    assert bench.sample(made.samples[0].uid).status == "approved"


def test_retest_forgets_what_the_first_attempt_used(bench: Bench) -> None:
    made = bench.register(("glu",))
    registered = bench.result(made.results[0].uid).snapshot_hash
    with bench.at_work() as (session, context):
        submit_results(session, context, [Entry(made.results[0].uid, "5", method_uid=bench.uids["dry"])])
    assert bench.result(made.results[0].uid).snapshot_hash != registered
    with bench.at_work("bob") as (session, context):
        again = retest_result(session, context, made.results[0].uid, "Implausible", keep=False).uid
    assert bench.result(again).snapshot_hash == registered


def test_retest_takes_over_nothing_of_what_became_of_the_first_value(bench: Bench) -> None:
    made = bench.register(("crp",))
    bench.submit(made, crp="0.5")
    with bench.at_work("bob") as (session, context):
        again = retest_result(session, context, made.results[0].uid, "Implausible", keep=False).uid
    child = bench.result(again)
    assert {child.entered, child.result, child.flag, child.judgement, child.note, child.date_submitted} == {None}
    with bench.at_work() as (session, context):
        submit_results(session, context, [Entry(again, "2")])
        steps = select(ResultMutation.before).where(ResultMutation.analysis_result_uid == again)
        assert "0.5" not in str(session.scalars(steps).all())
    assert bench.result(again).result == "2.20 +/- 0.5"
    assert bench.result(made.results[0].uid).result == "< 0.6"  # of which nothing is lost


def test_flag_is_told_in_every_state_that_follows(bench: Bench) -> None:
    scientist = bench.installation.actor(groups=("SCIENTIST", "LAB_MANAGER"))
    made, other = bench.register(("pot",)), bench.register(("pot",))
    sample, result = made.samples[0].uid, made.results[0].uid

    def told(uid: str, of: str) -> tuple[str, str, str]:
        one, whole = scientist.get(f"/results/{uid}"), scientist.get(f"/samples/{of}")
        assert [row["flag"] for row in whole["results"] if row["uid"] == uid] == [one["flag"]]
        return whole["status"], one["status"], one["flag"]

    for one in (made, other):
        bench.submit(one, pot="9.9")
    assert told(result, sample) == ("awaiting", "resulted", "high")
    [listed] = [
        one for one in scientist.get("/results/worklist", params={"status": "resulted"}) if one["uid"] == result
    ]
    assert listed["flag"] == "high"
    bench.verify(made)
    assert told(result, sample) == ("approved", "approved", "high")
    scientist.post("/samples/publish", {"uids": [sample]})
    assert told(result, sample) == ("published", "approved", "high")
    scientist.post(f"/samples/{sample}/invalidate", {"reason": "Labels swapped"})
    assert told(result, sample) == ("invalidated", "approved", "high")
    scientist.post(f"/results/{other.results[0].uid}/retest", {"reason": "Haemolysed"})
    assert told(other.results[0].uid, other.samples[0].uid) == ("received", "retracted", "high")


def test_keeping_a_result_that_needs_two_verifiers_is_refused_to_the_first(bench: Bench) -> None:
    made = bench.register(("hiv",))
    bench.submit(made, hiv="Positive")
    with pytest.raises(ChangeRefused, match="Another person"), bench.at_work("bob") as (session, context):
        retest_result(session, context, made.results[0].uid, "Confirm", keep=True)
    assert bench.result(made.results[0].uid).status == "resulted"


def test_cancelled_results_let_the_sample_go_on_and_all_cancelled_cancel_it(bench: Bench) -> None:
    made = bench.register(("glu", "pot"))
    bench.submit(made, glu="4.5")
    bench_cancel(bench, made.results[1].uid)
    assert bench.sample(made.samples[0].uid).status == "awaiting"
    other = bench.register(("glu", "pot"))
    bench_cancel(bench, *(one.uid for one in other.results))
    assert bench.sample(other.samples[0].uid).status == "cancelled"
    with bench.at_work() as (session, context):
        reinstate_samples(session, context, [other.samples[0].uid])
    assert {bench.result(one.uid).status for one in other.results} == {"pending"}
    assert bench.sample(other.samples[0].uid).status == "received"
    bench_cancel(bench, other.results[0].uid)
    with bench.at_work() as (session, context):
        reinstate_results(session, context, [other.results[0].uid])
    assert bench.result(other.results[0].uid).status == "pending"


def bench_cancel(bench: Bench, *uids: str) -> None:
    with bench.at_work() as (session, context):
        cancel_results(session, context, uids)


def test_expected_sample_is_received_once_and_due_from_then(bench: Bench) -> None:
    bench.setting(auto_receive_samples=False)
    try:
        made = bench.register(("glu",))
    finally:
        bench.setting(auto_receive_samples=True)
    uid = made.samples[0].uid
    assert (bench.sample(uid).status, bench.sample(uid).date_received) == ("expected", None)
    with pytest.raises(ChangeRefused, match="once it is received"):
        bench.submit(made, glu="4.5")
    due = bench.result(made.results[0].uid).due_date
    with bench.at_work("bob") as (session, context):
        receive_samples(session, context, [uid])
    received = bench.sample(uid)
    assert (received.status, received.received_by_uid) == ("received", bench.uids["bob"])
    assert bench.result(made.results[0].uid).due_date > due
    with (
        pytest.raises(WrongState, match="is received: receive is possible in expected"),
        bench.at_work() as (session, context),
    ):
        receive_samples(session, context, [uid])
    assert bench.sample(uid).received_by_uid == bench.uids["bob"]


def test_planned_collection_makes_a_scheduled_sample(bench: Bench) -> None:
    made = bench.register(("glu",), date_collected=datetime.now(UTC) + timedelta(days=2))
    uid = made.samples[0].uid
    assert bench.sample(uid).status == "scheduled"
    with bench.at_work() as (session, context):
        collect_samples(session, context, [uid])
        receive_samples(session, context, [uid])
    assert bench.sample(uid).status == "received"


def test_reject_keeps_who_received_and_cancels_what_was_pending(bench: Bench) -> None:
    made = bench.register(("glu",), user="bob")
    uid = made.samples[0].uid
    with pytest.raises(InputRejected), bench.at_work() as (session, context):
        reject_samples(session, context, [uid], [])
    with bench.at_work("cat") as (session, context):
        reject_samples(session, context, [uid], [bench.uids["clotted"]])
    sample = bench.sample(uid)
    assert (sample.status, sample.received_by_uid, sample.rejected_by_uid) == (
        "rejected",
        bench.uids["bob"],
        bench.uids["cat"],
    )
    assert bench.result(made.results[0].uid).status == "cancelled"


def test_begun_work_is_not_cancelled(bench: Bench) -> None:
    made = bench.register(("glu", "pot"))
    bench.submit(made, glu="4.5")
    with (
        pytest.raises(ChangeRefused, match="cancel is possible while no result"),
        bench.at_work() as (session, context),
    ):
        cancel_samples(session, context, [made.samples[0].uid])
    assert bench.sample(made.samples[0].uid).status == "received"


def test_stored_sample_comes_out_again(bench: Bench) -> None:
    uid = bench.register(("glu",)).samples[0].uid
    with bench.at_work() as (session, context):
        store_samples(session, context, [uid], "Freezer 2")
    assert (bench.sample(uid).status, bench.sample(uid).storage_location) == ("stored", "Freezer 2")
    with bench.at_work() as (session, context):
        recover_samples(session, context, [uid])
    assert (bench.sample(uid).status, bench.sample(uid).storage_location) == ("received", None)


def test_more_is_asked_for_until_the_sample_is_submitted(bench: Bench) -> None:
    made = bench.register(("glu",))
    uid = made.samples[0].uid
    with bench.at_work() as (session, context):
        more = add_analyses(session, context, uid, analyses=[bench.uids["crp"]], profiles=[bench.uids["profile"]])
        assert {one.analysis_uid for one in more} == {bench.uids["crp"], bench.uids["pot"]}
        added = [one.uid for one in more]
    assert bench.sample(uid).snapshot_version == 2
    bench.submit(made, glu="4.5")
    with bench.at_work() as (session, context):
        submit_results(session, context, [Entry(one, "4") for one in added])
    with pytest.raises(ChangeRefused, match="nothing more can be asked for"), bench.at_work() as (session, context):
        add_analyses(session, context, uid, analyses=[bench.uids["hiv"]])


def test_invalidated_sample_has_a_corrected_copy(bench: Bench) -> None:
    made = bench.approved(glu="4.5", pot="4.1")
    uid = made.samples[0].uid
    with bench.at_work("bob") as (session, context):
        first = invalidate_sample(session, context, uid, "Mixed up").uid
    old, copy = bench.sample(uid), bench.sample(first)
    assert (old.status, old.invalidation_reason, old.invalidated_by_uid) == (
        "invalidated",
        "Mixed up",
        bench.uids["bob"],
    )
    assert old.date_invalidated is not None
    assert (copy.sample_id, copy.status, copy.parent_uid) == (f"{old.sample_id}_R01", "received", uid)
    assert copy.relationship_type == "derived"
    assert bench.result(made.results[0].uid).date_invalidated is not None
    with bench.at_work() as (session, context):
        results = session.scalars(select(AnalysisResult).where(AnalysisResult.sample_uid == first)).all()
        assert {one.analysis_uid for one in results} == {bench.uids["glu"], bench.uids["pot"]}
        submit_results(session, context, [Entry(one.uid, "4.2") for one in results])
        uids = [one.uid for one in results]
    with bench.at_work("bob") as (session, context):
        verify_results(session, context, uids)
        second = invalidate_sample(session, context, first, "Again").sample_id
    assert second == f"{old.sample_id}_R02"
    with pytest.raises(WrongState), bench.at_work() as (session, context):
        invalidate_sample(session, context, uid, "Twice")


def test_other_laboratory_and_other_tenant_find_nothing(bench: Bench) -> None:
    made = bench.register(("glu",))
    elsewhere = set_up(bench.installation, "alpha", "Second")
    for other in (elsewhere, Bench(bench.installation, "beta", "First", bench.uids)):
        with pytest.raises(RecordNotFound), other.at_work() as (session, context):
            receive_samples(session, context, [made.samples[0].uid])
        with pytest.raises(RecordNotFound), other.at_work() as (session, context):
            submit_results(session, context, [Entry(made.results[0].uid, "4.5")])
    new = NewRequest(bench.uids["patient"], [NewSample(bench.uids["blood"], [bench.uids["glu"]])])
    with pytest.raises(ReferenceRejected), elsewhere.at_work() as (session, context):
        register_request(session, context, new)
    assert bench.result(made.results[0].uid).status == "pending"
    with bench.at_work() as (session, _):
        assert session.scalar(select(func.count()).select_from(Sample).where(Sample.uid == made.samples[0].uid)) == 1
