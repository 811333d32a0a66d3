"""Print a report: the JSON of :mod:`beak_lims.reports.contents` as a PDF, page by page.

The same contents give the same bytes. Letters beyond Latin, Greek and Cyrillic are not in the font and are printed as
empty boxes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace

FONT = "Roboto"
MARGIN = 15.0  # millimetres
LOGO_WIDTH, LOGO_HEIGHT = 40.0, 18.0  # millimetres; it keeps its proportions within them
SMALL, BODY, LARGE = 7.5, 9.0, 13.0  # points
WIDTHS = (46, 40, 11, 20, 33, 30)  # of the columns of results, in parts of the page's width
HEADINGS = ("Analysis", "Result", "Flag", "Unit", "Reference range", "Method")
FLAGS = {"low": "L", "high": "H", "critical_low": "LL", "critical_high": "HH", "abnormal": "A"}
LEGEND = "L low, H high, LL and HH critical, A abnormal. Reference ranges are those in force when the result was made."
TEST_WIDTHS = (48, 28, 24, 18, 62)
TEST_HEADINGS = ("Antibiotic", "Category", "Value", "Test", "Read by")
MEANINGS = {
    "S": "susceptible",
    "SDD": "susceptible, dose-dependent",
    "I": "intermediate, by EUCAST susceptible at increased exposure",
    "NS": "not susceptible",
    "R": "resistant",
    "WT": "wild type",
    "NWT": "not wild type",
    "?": "the value lies beyond the scale and may mean otherwise",
}
GREY = (110, 110, 110)
SHADE = (236, 239, 243)
LINES = (190, 195, 200)


@cache
def _font(style: str) -> str:
    return str(files("font_roboto").joinpath("files", f"Roboto-{style}.ttf"))


class _Page(FPDF):
    """A4 with the letterhead on top and the page's number below."""

    def __init__(self, told: Mapping[str, Any], logo: bytes | None) -> None:
        super().__init__(format="A4")
        self._told = told
        self._logo = logo
        self.set_margin(MARGIN)
        self.set_auto_page_break(True, margin=22)
        self.alias_nb_pages("{nb}")
        self.add_font(FONT, "", _font("Regular"))
        self.add_font(FONT, "B", _font("Bold"))

    def header(self) -> None:
        """The letterhead."""
        told = self._told["laboratory"]
        if self._logo is not None:
            box = (self.w - self.r_margin - LOGO_WIDTH, self.t_margin, LOGO_WIDTH, LOGO_HEIGHT)
            self.image(io.BytesIO(self._logo), *box, keep_aspect_ratio=True)
        self.line_of(told["name"], size=LARGE, bold=True)
        if told["organization"] != told["name"]:
            self.line_of(told["organization"])
        if told["tag_line"]:
            self.line_of(told["tag_line"], grey=True)
        reach = "   ".join(filter(None, (told["address"], told["phone"], told["email"])))
        if reach:
            self.line_of(reach.replace("\n", ", "), size=SMALL, grey=True)
        if self._logo is not None:  # the line is drawn below it
            self.set_y(max(self.get_y(), self.t_margin + LOGO_HEIGHT))
        self.set_draw_color(*LINES)
        self.line(self.l_margin, self.get_y() + 1, self.w - self.r_margin, self.get_y() + 1)
        self.ln(4)

    def footer(self) -> None:
        """Which report this is, and the page's number."""
        self.set_y(-18)
        told = self._told
        if told["laboratory"]["quality_statement"]:
            self.line_of(told["laboratory"]["quality_statement"], size=SMALL, grey=True)
        issued = f"{told['sample']['sample_id']}   {told['title']} no. {told['issue']}, issued {told['issued_at']}"
        self.set_font(FONT, size=SMALL)
        self.set_text_color(*GREY)
        self.cell(0, 4, issued)
        self.set_x(self.l_margin)
        self.cell(0, 4, f"Page {self.page_no()} of {{nb}}", align="R")

    def line_of(self, text: str, *, size: float = BODY, bold: bool = False, grey: bool = False) -> None:
        """One paragraph."""
        self.set_font(FONT, "B" if bold else "", size)
        self.set_text_color(*(GREY if grey else (0, 0, 0)))
        self.multi_cell(0, size * 0.5, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_text_color(0, 0, 0)


def printed(told: Mapping[str, Any], at: datetime, logo: bytes | None = None) -> tuple[bytes, int]:
    """The PDF and the number of its pages. ``at`` is written into it as the time of its making; ``logo``, a PNG or JPEG
    that :mod:`beak_lims.reports.logo` has checked, stands on the right of the letterhead.
    """
    page = _Page(told, logo)
    page.set_creation_date(at)
    page.set_title(f"{told['title']} {told['sample']['sample_id']}")
    page.set_producer("Beak LIMS")
    page.add_page()
    page.line_of(told["title"], size=LARGE, bold=True)
    if told.get("supersedes"):
        page.line_of(f"It takes the place of {told['supersedes']}. Reason: {told['reason']}", bold=True)
    page.ln(1)
    _facts(page, told)
    page.ln(3)
    _results(page, told)
    _antibiograms(page, told)
    _verified(page, told)
    return bytes(page.output()), page.pages_count


def _facts(page: _Page, told: Mapping[str, Any]) -> None:
    patient, client, request, sample = (told[name] for name in ("patient", "client", "request", "sample"))
    places = ", ".join(filter(None, (client["district"], client["province"], client["country"])))
    left = [
        ("Patient", patient["name"]),
        ("Patient no.", patient["patient_id"]),
        ("Client's no.", patient["client_patient_id"]),
        ("Born", " - ".join(filter(None, (patient["date_of_birth"], patient["age"])))),
        ("Sex", patient["gender"]),
        ("Client", " - ".join(filter(None, (client["name"], places)))),
        ("Contact", told["contact"]),
    ]
    right = [
        ("Sample", sample["sample_id"]),
        ("Type", sample["sample_type"]),
        ("Request", request["request_id"]),
        ("Client's request", request["client_request_id"]),
        ("Collected", sample["collected"]),
        ("Received", sample["received"]),
        ("Approved", sample["approved"]),
    ]
    page.set_font(FONT, size=BODY)
    bold = FontFace(emphasis="BOLD")
    with page.table(
        col_widths=(20, 80, 26, 54), borders_layout="NONE", first_row_as_headings=False, line_height=4.6, align="LEFT"
    ) as table:
        for (name, value), (other_name, other_value) in zip(left, right, strict=True):
            row = table.row()
            row.cell(name)
            row.cell(value or "", style=bold if name == "Patient" else None)
            row.cell(other_name)
            row.cell(other_value or "", style=bold if other_name == "Sample" else None)


def _results(page: _Page, told: Mapping[str, Any]) -> None:
    page.set_font(FONT, size=BODY)
    page.set_draw_color(*LINES)
    page.set_line_width(0.1)
    headings = FontFace(emphasis="BOLD", fill_color=SHADE)
    bold = FontFace(emphasis="BOLD")
    with page.table(
        col_widths=WIDTHS, borders_layout="HORIZONTAL_LINES", headings_style=headings, line_height=5, text_align="LEFT"
    ) as table:
        table.row(HEADINGS)
        section = None
        for one in told["results"]:
            belongs = one["department"] or one["category"]
            if belongs != section and belongs is not None:
                section = belongs
                table.row().cell(belongs, colspan=len(WIDTHS), style=bold)
            mark = FLAGS.get(one["flag"] or "", "")
            row = table.row()
            row.cell(one["analysis"])
            row.cell(one["result"], style=bold if mark else None)
            row.cell(mark, style=bold)
            row.cell(one["unit"] or "")
            row.cell(one["range"])
            row.cell(one["method"] or "")
            if one["note"]:
                table.row().cell(one["note"], colspan=len(WIDTHS))
    if any(one["flag"] or one["range"] for one in told["results"]):
        page.ln(1)
        page.line_of(LEGEND, size=SMALL, grey=True)


def _antibiograms(page: _Page, told: Mapping[str, Any]) -> None:
    headings = FontFace(emphasis="BOLD", fill_color=SHADE)
    bold = FontFace(emphasis="BOLD")
    marks: set[str] = set()
    for isolate in told["isolates"]:
        page.ln(2)
        page.line_of(isolate["title"], bold=True)
        page.ln(1)
        page.set_font(FONT, size=BODY)
        with page.table(
            col_widths=TEST_WIDTHS,
            borders_layout="HORIZONTAL_LINES",
            headings_style=headings,
            line_height=5,
            text_align="LEFT",
        ) as table:
            table.row(TEST_HEADINGS)
            for one in isolate["tests"]:
                category = one["category"]
                marks |= {category.rstrip("?"), category[-1:]}
                row = table.row()
                row.cell(one["analysis"])
                row.cell(category, style=bold if category.rstrip("?") in MEANINGS else None)
                for part in ("value", "test", "read_by"):
                    row.cell(one[part] or "")
                if one["note"]:
                    table.row().cell(one["note"], colspan=len(TEST_WIDTHS))
    meant = [f"{mark} {meaning}" for mark, meaning in MEANINGS.items() if mark in marks]
    if meant:
        page.ln(1)
        page.line_of("; ".join(meant) + ".", size=SMALL, grey=True)


def _verified(page: _Page, told: Mapping[str, Any]) -> None:
    by: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for one in (*told["results"], *(test for isolate in told["isolates"] for test in isolate["tests"])):
        if one["verified_by"]:
            by.setdefault(tuple(one["verified_by"]), []).append((one["analysis"], one["verified_at"]))
    page.ln(2)
    for names, verified in by.items():
        analyses = "; ".join(dict.fromkeys(analysis for analysis, _ in verified))
        last = max(at for _, at in verified)
        page.line_of(f"Verified by {', '.join(names)} on {last}: {analyses}")
    if told["state"] == "preliminary":
        page.line_of("Preliminary: results may still change, and those that are pending will follow.", bold=True)
    page.line_of("End of report", size=SMALL, grey=True)
