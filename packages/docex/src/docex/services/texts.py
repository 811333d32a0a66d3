"""Full-text search: PostgreSQL's tsvector, SQLite's FTS5, one language of queries for both.

Words are compared without their case; nothing is stemmed, since the language of a text is not known. Only the first
400,000 bytes of a text are searched. A query is words that must all occur, ``"several words"`` that stand together,
``word*`` for a beginning, and ``-word`` for what must not occur.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, text

from docex.contents import searchable
from docex.errors import QueryRejected

RANKED = 2_000  # matches that are ranked; of more, those that were added last

_TERM = re.compile(r'(-?)(?:"([^"]*)"|(\S+))')
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Term:
    """Words that must stand together, or must not occur."""

    words: tuple[str, ...]
    without: bool = False
    prefix: bool = False  # the last word is the beginning of one


@dataclass(frozen=True)
class Hit:
    """A document that a query found."""

    document_id: str
    rank: float  # the higher, the better; comparable within one answer only
    snippet: str  # a part of the text, the matches between [ and ]


def parsed(query: str) -> list[Term]:
    """The terms of a query. :raises QueryRejected: it has no word that must occur."""
    terms = []
    for minus, phrase, single in _TERM.findall(query):
        words = tuple(_WORD.findall(phrase or single))
        if words:
            terms.append(Term(words, without=bool(minus), prefix=single.endswith("*")))
    if not any(not term.without for term in terms):
        raise QueryRejected(query, 'name a word that must occur, such as: invoice "late payment" glob* -draft')
    return terms


def _tsquery(terms: Sequence[Term]) -> str:
    parts = []
    for term in terms:
        words = [f"'{word}'" for word in term.words]
        if term.prefix:
            words[-1] += ":*"
        parts.append(("!" if term.without else "") + "(" + " <-> ".join(words) + ")")
    return " & ".join(parts)


def _match(terms: Sequence[Term]) -> str:
    def phrase(term: Term) -> str:
        return '"' + " ".join(term.words) + '"' + ("*" if term.prefix else "")

    wanted = " AND ".join(phrase(term) for term in terms if not term.without)
    return " NOT ".join([f"({wanted})", *(phrase(term) for term in terms if term.without)])


_INDEX = text(
    "INSERT INTO document_text (document_id, body, search)"
    " VALUES (:document_id, :body, to_tsvector('simple', CAST(:words AS text)))"
)
_ROWS = text("INSERT INTO document_text (id, document_id, body) VALUES (:id, :document_id, :body)")
_WORDS = text("INSERT INTO document_fts (rowid, body) VALUES (:id, :words)")
_NEXT = text("SELECT coalesce(max(id), 0) + 1 FROM document_text")


def index(connection: Connection, documents: Sequence[tuple[str, str | None, str | None]]) -> None:
    """Make texts searchable: of each document its id, its own text, and the text to use where it has none."""
    given = [
        {
            "document_id": document_id,
            "body": None if own is not None else other,
            "words": own if own is not None else other,
        }
        for document_id, own, other in documents
        if own is not None or other is not None
    ]
    if not given:
        return
    for row in given:
        row["words"] = searchable(row["words"] or "")
    if connection.dialect.name == "postgresql":
        connection.execute(_INDEX, given)
        return
    first: int = connection.execute(_NEXT).scalar_one()
    rows = [{**row, "id": first + offset} for offset, row in enumerate(given)]
    connection.execute(_ROWS, rows)
    connection.execute(_WORDS, rows)


def forget(connection: Connection, document_ids: Sequence[str]) -> None:
    """Take the documents' texts out of the index; to be done before their own texts change or go."""
    if connection.dialect.name == "sqlite":
        for document_id in document_ids:
            row = connection.execute(_INDEXED, {"document_id": document_id}).one_or_none()
            if row is not None:
                # The index keeps no copy of the text: what was put in is told to it again.
                connection.execute(_FORGET, {"id": row.id, "words": searchable(row.body or "")})
    for document_id in document_ids:
        connection.execute(text("DELETE FROM document_text WHERE document_id = :id"), {"id": document_id})


_INDEXED = text(
    "SELECT b.id, b.body FROM document_text t JOIN document_body b ON b.id = t.id WHERE t.document_id = :document_id"
)
_FORGET = text("INSERT INTO document_fts (document_fts, rowid, body) VALUES ('delete', :id, :words)")

_FIND_POSTGRES = """
WITH wanted AS (SELECT to_tsquery('simple', :query) AS query),
matches AS MATERIALIZED (
    SELECT t.document_id, t.search, t.body, t.id
    FROM document_text t, wanted {join}
    WHERE t.search @@ wanted.query {basket}
    LIMIT :ranked
), best AS (
    SELECT document_id, body, CAST(ts_rank(search, wanted.query) AS double precision) AS rank, id
    FROM matches, wanted ORDER BY rank DESC, id DESC LIMIT :limit OFFSET :offset
)
SELECT best.document_id, best.rank,
    ts_headline('simple', left(coalesce(best.body, d.raw_content), 100000), wanted.query,
        'StartSel=[, StopSel=], MaxFragments=2, MaxWords=12, MinWords=4, FragmentDelimiter=" ... "') AS snippet
FROM best JOIN document d ON d.id = best.document_id, wanted
ORDER BY best.rank DESC, best.id DESC
"""
# One walk over the matches, from the last on. In two, FTS5 would gather a prefix's matches twice.
_BEST_SQLITE = """
SELECT id, rank FROM (
    SELECT f.rowid AS id, f.rank AS rank FROM document_fts f
    WHERE document_fts MATCH :query {basket} ORDER BY f.rowid DESC LIMIT :ranked
) ORDER BY rank, id DESC LIMIT :limit OFFSET :offset
"""
_IN_BASKET_SQLITE = """
AND EXISTS (
    SELECT 1 FROM document_text t JOIN document b ON b.id = t.document_id
    WHERE t.id = f.rowid AND b.basket_id = :basket_id
)
"""
# The plus: looked up one by one, each row would have FTS5 gather the matches anew.
_SHOWN_SQLITE = """
SELECT f.rowid, t.document_id, snippet(document_fts, 0, '[', ']', ' ... ', 12) AS snippet
FROM document_fts f JOIN document_text t ON t.id = f.rowid
WHERE document_fts MATCH :query AND f.rowid BETWEEN :first AND :last AND +f.rowid IN :shown
"""


def search(connection: Connection, query: str, basket_id: str | None, limit: int, offset: int) -> list[Hit]:
    """The documents that a query finds, best first. :raises QueryRejected: it has no word that must occur."""
    terms = parsed(query)
    postgres = connection.dialect.name == "postgresql"
    given: dict[str, Any] = {
        "query": _tsquery(terms) if postgres else _match(terms),
        "limit": limit,
        "offset": offset,
        "ranked": max(RANKED, limit + offset),
    }
    join = basket = ""
    if basket_id is not None:
        given["basket_id"] = basket_id
        if postgres:
            join, basket = "JOIN document b ON true", "AND b.id = t.document_id AND b.basket_id = :basket_id"
        else:
            basket = _IN_BASKET_SQLITE
    if postgres:
        rows = connection.execute(text(_FIND_POSTGRES.format(join=join, basket=basket)), given)
        return [Hit(row.document_id, row.rank, row.snippet or "") for row in rows]
    best = connection.execute(text(_BEST_SQLITE.format(basket=basket)), given).all()
    if not best:
        return []
    rows_shown = [row.id for row in best]
    shown = text(_SHOWN_SQLITE).bindparams(bindparam("shown", expanding=True))
    which = {"query": given["query"], "shown": rows_shown, "first": min(rows_shown), "last": max(rows_shown)}
    told = connection.execute(shown, which).all()
    by_row = {row.rowid: row for row in told}
    return [Hit(by_row[row.id].document_id, -row.rank, by_row[row.id].snippet or "") for row in best]
