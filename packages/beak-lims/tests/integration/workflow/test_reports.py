"""Reports print what is frozen, stay as they were issued, and say which of them counts."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image
from pypdf import PdfReader
from sqlalchemy import select

from beak_lims.errors import ChangeRefused, DecryptionFailed, WrongState
from beak_lims.models import AnalysisResult, AuditLog, Client, Patient, ReportImpress, Sample
from beak_lims.services.reports import amend_report, issue_preliminary, pdf_of, print_report, publish_samples
from beak_lims.services.requests import Registered
from beak_lims.services.results import Entry, retest_result, submit_results, verify_results
from beak_lims.services.samples import invalidate_sample

from .conftest import Bench


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


def published(bench: Bench, made: Registered) -> tuple[str, str]:
    """Publish a request's sample; the report's uid and its text."""
    with bench.at_work("cat") as (session, context):
        [report] = publish_samples(session, context, [made.samples[0].uid])
        return report.uid, text_of(pdf_of(report))


def test_final_report_says_what_a_reader_needs(bench: Bench) -> None:
    made = bench.approved(glu="26", pot="4.1", crp="0.2")
    uid, text = published(bench, made)
    sample = bench.sample(made.samples[0].uid)
    assert (sample.status, sample.published_by_uid) == ("published", bench.uids["cat"])
    for expected in (
        "Final report",
        "First",  # the laboratory
        "Alpha",  # its organisation
        "Tendai Secretname",
        "1990-05-01",
        sample.sample_id,
        made.request.request_id,
        "3.9 - 5.1",  # the range for a woman
        "3.5 - 5",
        "< 0.6",
        "Verified by Bob Moyo",
        "Page 1 of 1",
        "End of report",
    ):
        assert expected in text, expected
    assert "H" in text.split()
    with bench.at_work() as (session, _):
        report = session.scalars(select(ReportImpress).where(ReportImpress.uid == uid)).one()
        assert (report.state, report.issue, report.pages) == ("final", 1, 1)
        raw = (
            session.connection().exec_driver_sql("SELECT content, pdf FROM report_impress WHERE uid = %s", (uid,)).one()
        )
        assert "Secretname" not in raw.content
        assert not raw.pdf.startswith("JVBERi")  # base64 of %PDF-
        entries = session.scalars(select(AuditLog.state_after).where(AuditLog.target_uid == uid)).all()
        assert all("pdf" not in entry and "content" not in entry for entry in entries if entry)


def test_only_an_approved_sample_is_published_and_only_once(bench: Bench) -> None:
    made = bench.register(("glu",))
    bench.submit(made, glu="4.4")
    with pytest.raises(WrongState, match="is awaiting"):
        published(bench, made)
    bench.verify(made)
    published(bench, made)
    with pytest.raises(WrongState, match="is published"):
        published(bench, made)


def test_preliminary_report_tells_no_unverified_value(bench: Bench) -> None:
    made = bench.register(("glu", "pot", "hiv"))
    bench.submit(made, glu="4.4", pot="4.9")
    with bench.at_work("bob") as (session, context):
        verify_results(session, context, [made.results[0].uid])
        report = issue_preliminary(session, context, made.samples[0].uid)
        text = text_of(pdf_of(report))
        assert (report.state, report.issue) == ("preliminary", 1)
    assert "Preliminary report" in text
    assert "4.4" in text
    assert "4.9" not in text
    assert text.count("pending") >= 2
    assert bench.sample(made.samples[0].uid).status == "received"
    with bench.at_work("ann") as (session, context):
        submit_results(session, context, [Entry(made.results[2].uid, "Negative")])
    for user in ("bob", "cat"):
        with bench.at_work(user) as (session, context):
            left = [made.results[2].uid, *([made.results[1].uid] if user == "bob" else [])]
            verify_results(session, context, left)
    _, text = published(bench, made)
    assert "Final report no. 2" in text
    assert "pending" not in text
    with pytest.raises(ChangeRefused, match="samples in work"), bench.at_work() as (session, context):
        issue_preliminary(session, context, made.samples[0].uid)


def test_retested_result_is_printed_once(bench: Bench) -> None:
    made = bench.register(("pot", "glu"))
    bench.submit(made, pot="9.9", glu="4.4")
    with bench.at_work("bob") as (session, context):
        again = retest_result(session, context, made.results[0].uid, "Haemolysed", keep=True).uid
    with bench.at_work() as (session, context):
        submit_results(session, context, [Entry(again, "4.2")])
    with bench.at_work("bob") as (session, context):
        verify_results(session, context, [again, made.results[1].uid])
    _, text = published(bench, made)
    assert "4.2" in text
    assert "9.9" not in text


def test_published_report_keeps_range_and_name_whatever_is_changed_afterwards(bench: Bench) -> None:
    made = bench.approved(pot="4.9")
    with bench.at_work(None) as (session, _):
        session.connection().exec_driver_sql(
            "UPDATE specification SET max = 4.5 WHERE analysis_uid = %s", (bench.uids["pot"],)
        )
        patient = session.scalars(select(Patient).where(Patient.uid == bench.uids["patient"])).one()
        client = session.scalars(select(Client).where(Client.uid == bench.uids["client"])).one()
        name, patient.last_name, client.name = client.name, "Married", "Renamed"
    try:
        uid, text = published(bench, made)
        assert "3.5 - 5" in text
        assert "Secretname" in text
        assert name in text
        assert "Renamed" not in text
        with bench.at_work() as (session, context):
            report = session.scalars(select(ReportImpress).where(ReportImpress.uid == uid)).one()
            issued = pdf_of(report)
            assert print_report(session, context, uid) == issued
        assert bench.sample(made.samples[0].uid).printed is True
    finally:
        with bench.at_work(None) as (session, _):
            session.connection().exec_driver_sql(
                "UPDATE specification SET max = 5.0 WHERE analysis_uid = %s", (bench.uids["pot"],)
            )
            session.scalars(select(Patient).where(Patient.uid == bench.uids["patient"])).one().last_name = "Secretname"
            session.scalars(select(Client).where(Client.uid == bench.uids["client"])).one().name = name


def test_corrected_copy_gets_an_amended_report_that_names_the_first(bench: Bench) -> None:
    made = bench.approved(glu="4.4")
    first, _ = published(bench, made)
    with bench.at_work("bob") as (session, context):
        copy = invalidate_sample(session, context, made.samples[0].uid, "Wrong patient").uid
    with bench.at_work() as (session, context):
        [pending] = session.scalars(select(AnalysisResult).where(AnalysisResult.sample_uid == copy)).all()
        submit_results(session, context, [Entry(pending.uid, "5.0")])
        uid = pending.uid
    with bench.at_work("bob") as (session, context):
        verify_results(session, context, [uid])
        [report] = publish_samples(session, context, [copy])
        text = text_of(pdf_of(report))
        assert (report.state, report.supersedes_uid, report.reason) == ("amended", first, "Wrong patient")
        old = session.scalars(select(ReportImpress).where(ReportImpress.uid == first)).one()
        assert (old.state, old.date_invalidated is not None) == ("invalidated", True)
        assert text_of(pdf_of(old)).startswith("First")  # it can still be shown to whoever asks what was sent
        number = session.scalars(select(Sample.sample_id).where(Sample.uid == made.samples[0].uid)).one()
    assert "Amended report" in text
    assert f"takes the place of report no. 1 of sample {number}. Reason: Wrong patient" in text


def test_amending_needs_a_published_sample(bench: Bench) -> None:
    made = bench.approved(glu="4.4")
    with pytest.raises(WrongState), bench.at_work() as (session, context):
        amend_report(session, context, made.samples[0].uid, "Why not")
    published(bench, made)
    with bench.at_work() as (session, context):
        report = amend_report(session, context, made.samples[0].uid, "Name misspelt")
        assert (report.issue, report.state) == (2, "amended")
        assert json.loads(report.content)["reason"] == "Name misspelt"
    assert bench.sample(made.samples[0].uid).status == "published"


def test_long_report_counts_its_pages_and_repeats_its_headings(bench: Bench) -> None:
    from datetime import UTC, datetime

    from beak_lims.reports.printing import printed

    made = bench.approved(glu="4.4")
    with bench.at_work("cat") as (session, context):
        [report] = publish_samples(session, context, [made.samples[0].uid])
        told = json.loads(report.content)
    told["results"] = [told["results"][0] | {"analysis": f"Żółć Ω {at}", "note": "Заметка"} for at in range(90)]
    at = datetime(2026, 11, 22, tzinfo=UTC)
    pdf, pages = printed(told, at)
    text = text_of(pdf)
    assert pages > 2
    assert f"Page {pages} of {pages}" in text
    assert text.count("Reference range") >= pages
    assert "Żółć Ω 89" in text
    assert "Заметка" in text
    assert printed(told, at)[0] == pdf


def test_letterhead_bears_the_logo_and_nothing_else_is_taken_for_one(bench: Bench) -> None:
    drawn = io.BytesIO()
    Image.new("RGB", (80, 40), "navy").save(drawn, "PNG")
    logo = f"data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}"
    admin = bench.installation.actor()
    for wrong in ("logo.png", "data:image/png;base64,AAAA", logo.replace("png", "jpeg"), logo[:80]):
        assert "Logo" in admin.refused(400, "PATCH", "/organisation", {"logo": wrong})
    assert admin.ok("PATCH", "/organisation", {"logo": logo})["logo"] == logo
    try:
        with bench.at_work("cat") as (session, context):
            [report] = publish_samples(session, context, [bench.approved(glu="4.4").samples[0].uid])
            [image] = PdfReader(io.BytesIO(pdf_of(report))).pages[0].images
            assert image.image is not None
            assert image.image.size == (80, 40)
    finally:
        admin.ok("PATCH", "/organisation", {"logo": None})


def test_tampered_pdf_is_not_handed_out(bench: Bench) -> None:
    uid, _ = published(bench, bench.approved(glu="4.4"))
    with bench.at_work() as (session, _):
        report = session.scalars(select(ReportImpress).where(ReportImpress.uid == uid)).one()
        report.pdf = report.pdf[:-8] + "AAAAAAA="
        with pytest.raises(DecryptionFailed, match="not the one that was issued"):
            pdf_of(report)
        session.rollback()
