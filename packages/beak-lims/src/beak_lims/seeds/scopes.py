"""The scopes that a tenant is seeded in: ``core``, the set-up of any laboratory, and ``clinical``, microbiology.

Rows are added where their natural key is missing; what is there stays as it is, deleted or changed as a laboratory
wished. One statement a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from beak_lims import models as m
from beak_lims.errors import ScopeRejected
from beak_lims.microbiology.codes import Method
from beak_lims.seeds import microbiology, setup
from beak_lims.seeds.baseline import complete
from beak_lims.seeds.running import Seeded

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from beak_lims.microbiology.catalog import Loaded

CORE, CLINICAL = "core", "clinical"
SCOPES = (CORE, CLINICAL)


def parse_scopes(words: Iterable[str]) -> tuple[str, ...]:
    """The scopes named, in the order they are seeded in. :raises ScopeRejected: there is no such scope."""
    wanted = {word.strip() for word in words}
    unknown = sorted(wanted - set(SCOPES))
    if unknown:
        raise ScopeRejected(", ".join(unknown)[:200], SCOPES)
    return tuple(scope for scope in SCOPES if scope in wanted)


def seed(
    session: Session, scopes: Sequence[str], *, progress: Callable[[Loaded], None] = lambda _: None
) -> list[Seeded]:
    """Add what the scopes hold and the tenant lacks. ``progress`` is told of each reference table once it is in."""
    seeded: list[Seeded] = []
    if CORE in scopes:
        complete(session)
        seeded += _core(session)
    if CLINICAL in scopes:
        seeded += microbiology.seed(session, microbiology.tables(None), progress=progress)
        seeded += _clinical(session)
    return seeded


def _core(session: Session) -> list[Seeded]:
    put = _Putting(session)
    put(m.CodingStandard, [{"name": setup.CODING_STANDARD[0], "description": setup.CODING_STANDARD[1]}])
    _places(put)
    put(m.Identification, [{"name": name} for name in setup.IDENTIFICATIONS])
    put(m.RejectionReason, [{"reason": reason} for reason in setup.REJECTION_REASONS])
    put(m.SampleType, [{"name": name, "abbr": abbr} for name, abbr in setup.SAMPLE_TYPES])
    put(m.InstrumentType, [{"name": name} for name in setup.INSTRUMENT_TYPES])
    put(m.Method, [{"name": name, "keyword": keyword} for name, keyword in setup.METHODS])
    put(m.Unit, [{"name": name} for name in setup.UNITS])
    put(m.Client, [{"name": name, "code": code} for name, code in setup.CLIENTS])
    departments = put.keys(m.Department.code)
    put(
        m.AnalysisCategory,
        [{"name": name, "department_uid": departments.get(code)} for name, code in setup.CATEGORIES],
    )
    _figures(put, departments)
    _words(put, departments)
    for laboratory_uid in session.scalars(sa.select(m.Laboratory.uid).order_by(m.Laboratory.uid)):
        _of_laboratory(put, laboratory_uid, departments)
    return put.seeded()


def _clinical(session: Session) -> list[Seeded]:
    """The two analyses that carry susceptibility tests."""
    put = _Putting(session)
    departments = put.keys(m.Department.code)
    put(m.AnalysisCategory, [{"name": "Susceptibility", "department_uid": departments.get("MICRO")}])
    samples = {name: abbr for name, abbr in setup.SAMPLE_TYPES if abbr in setup.AST_SAMPLES}
    put(m.SampleType, [{"name": name, "abbr": abbr} for name, abbr in samples.items()])
    methods = {keyword: name for name, keyword in setup.METHODS if keyword in (*Method, "ETEST")}
    put(m.Method, [{"name": name, "keyword": keyword} for keyword, name in methods.items()])
    _analyses(
        put,
        departments,
        [
            {
                "keyword": setup.AST_ORGANISM,
                "name": "Isolate",
                "category": "Susceptibility",
                "result_type": m.ResultType.SHORT_TEXT,
                "allow_multiple_results": True,
                "samples": setup.AST_SAMPLES,
            },
            {
                "keyword": setup.AST_ANTIBIOTIC,
                "name": "Susceptibility to an antibiotic",
                "category": "Susceptibility",
                "result_type": m.ResultType.SHORT_TEXT,
                "allow_multiple_results": True,
                "internal_use": True,
                "samples": (),
            },
        ],
    )
    return put.seeded()


class _Putting:
    """Adds rows whose unique keys are not there, and counts."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._counts: dict[str, list[int]] = {}

    def __call__(self, model: type[Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """The uids of those that were made now."""
        if not rows:
            return []
        # The table, not the model: of a table, rows given beside the statement go out as one statement.
        table = cast("sa.Table", model.__table__)
        made = self.session.scalars(insert(table).on_conflict_do_nothing().returning(table.c.uid), rows).all()
        count = self._counts.setdefault(model.__tablename__, [0, 0])
        count[0] += len(made)
        count[1] += len(rows) - len(made)
        return list(made)

    def keys(self, column: Any) -> dict[str, str]:
        """The uid of every row by one of its columns."""
        return dict(self.session.execute(sa.select(column, column.class_.uid)).all())

    def link(self, table: sa.Table, pairs: Iterable[tuple[str | None, str | None]]) -> None:
        left, right = table.columns.keys()[:2]
        rows = [{left: one, right: other} for one, other in pairs if one is not None and other is not None]
        if rows:
            self.session.execute(insert(table).on_conflict_do_nothing(), rows)

    def seeded(self) -> list[Seeded]:
        return [Seeded(name, added=added, unchanged=left) for name, (added, left) in self._counts.items()]


def _places(put: _Putting) -> None:
    name, code = setup.COUNTRY
    put(m.Country, [{"name": name, "code": code}])
    country = put.keys(m.Country.code).get(code)
    if country is None:  # the organisation has a country of that name, by another code: its places are its own
        return
    put(m.Province, [{"country_uid": country, "name": name, "code": code} for name, code in setup.PROVINCES])
    provinces = put.keys(m.Province.code)
    put(
        m.District,
        [
            {"province_uid": provinces[code], "name": name, "code": f"{code}-{name[:3].upper()}"}
            for (_, code), names in setup.PROVINCES.items()
            if code in provinces
            for name in names
        ],
    )


def _figures(put: _Putting, departments: Mapping[str, str]) -> None:
    made = _analyses(
        put,
        departments,
        [
            {
                "keyword": keyword,
                "name": name,
                "category": category,
                "unit": unit,
                "precision": digits,
                "result_type": m.ResultType.NUMERIC,
                "samples": samples,
            }
            for keyword, name, category, unit, digits, samples, _, _ in setup.FIGURES
        ],
    )
    put(
        m.Specification,
        [
            {
                "analysis_uid": made[keyword],
                "min": None if low is None else Decimal(low),
                "max": None if high is None else Decimal(high),
            }
            for keyword, _, _, _, _, _, low, high in setup.FIGURES
            if keyword in made
        ],
    )


def _words(put: _Putting, departments: Mapping[str, str]) -> None:
    made = _analyses(
        put,
        departments,
        [
            {
                "keyword": keyword,
                "name": name,
                "category": category,
                "result_type": m.ResultType.SELECT_LIST,
                "samples": samples,
            }
            for keyword, name, category, samples, _, _ in setup.CHOICES
        ]
        + [
            {
                "keyword": keyword,
                "name": name,
                "category": category,
                "result_type": m.ResultType.LONG_TEXT,
                "samples": samples,
            }
            for keyword, name, category, samples in setup.TEXTS
        ],
    )
    put(
        m.ResultOption,
        [
            {"analysis_uid": made[keyword], "key": number, "value": option}
            for keyword, _, _, _, options, _ in setup.CHOICES
            if keyword in made
            for number, option in enumerate(options, 1)
        ],
    )
    put(
        m.Specification,
        [
            {"analysis_uid": made[keyword], "normal_value": usual}
            for keyword, _, _, _, _, usual in setup.CHOICES
            if keyword in made and usual is not None
        ],
    )


def _analyses(put: _Putting, departments: Mapping[str, str], rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Make analyses; the uids by keyword of those that were made now, with their sample types."""
    category_department = dict(setup.CATEGORIES)
    categories, units = put.keys(m.AnalysisCategory.name), put.keys(m.Unit.name)
    samples = put.keys(m.SampleType.abbr)
    values = [
        {
            "keyword": row["keyword"],
            "name": row["name"],
            "category_uid": categories.get(row["category"]),
            "department_uid": departments.get(category_department[row["category"]]),
            "unit_uid": units.get(row.get("unit", "")),
            "result_type": row["result_type"],
            "precision": row.get("precision", 2),
            "allow_multiple_results": row.get("allow_multiple_results", False),
            "internal_use": row.get("internal_use", False),
            "sort_key": number,
        }
        for number, row in enumerate(rows, 1)
    ]
    new = set(put(m.Analysis, values))
    made = {keyword: uid for keyword, uid in put.keys(m.Analysis.keyword).items() if uid in new}
    put.link(
        m.analysis_sample_type,
        [
            (made[row["keyword"]], samples.get(abbr))
            for row in rows
            if row["keyword"] in made
            for abbr in row["samples"]
        ],
    )
    return made


def _of_laboratory(put: _Putting, laboratory_uid: str, departments: Mapping[str, str]) -> None:
    put(m.QCLevel, [{"laboratory_uid": laboratory_uid, "name": name} for name in setup.QC_LEVELS])
    new = put(
        m.Profile,
        [
            {
                "laboratory_uid": laboratory_uid,
                "keyword": keyword,
                "name": name,
                "department_uid": departments.get(department),
            }
            for keyword, name, department, _ in setup.PROFILES
        ],
    )
    table = cast("sa.Table", m.Profile.__table__)  # of this laboratory, whichever is at work
    found = put.session.execute(sa.select(table.c.keyword, table.c.uid).where(table.c.uid.in_(new)))
    uids: dict[str, str] = dict(found.all())
    analyses = put.keys(m.Analysis.keyword)
    put.link(
        m.profile_analysis,
        [
            (uids.get(keyword), analyses.get(analysis))
            for keyword, _, _, members in setup.PROFILES
            for analysis in members
        ],
    )
