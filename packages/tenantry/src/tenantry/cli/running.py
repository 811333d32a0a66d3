"""How a command line begins and ends: groups of commands, the tenancy that a command opens, and its exit code.

Errors the engine raises on purpose become one line and an exit code here, and nowhere else. Anything else is a bug and
keeps its traceback, without the values of local variables: they may be secrets.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from tenantry.cli.output import say
from tenantry.errors import TenancyError

if TYPE_CHECKING:
    from tenantry.tenancy import Tenancy

GC_THRESHOLD = 50_000  # new objects between two collections; the imports of a command make some 130,000
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

logger = logging.getLogger(__name__)


def group(help: str) -> typer.Typer:
    """Make an empty group of commands with the manners of these: help without arguments, plain text and tracebacks."""
    return typer.Typer(
        help=help,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # else [brackets] in a help text vanish
    )


@contextmanager
def opened(open_tenancy: Callable[[], Tenancy]) -> Iterator[Tenancy]:
    """Open the application's tenancy for one command and close its connections after it."""
    tenancy = open_tenancy()
    try:
        yield tenancy
    finally:
        tenancy.close()


def run(app: typer.Typer) -> NoReturn:
    """Run the command line and leave the process with its exit code.

    ``TENANTRY_LOG`` (debug, info, warning ...) has the engine's log written to stderr; at debug that is also the
    traceback of an error that is otherwise told in one line.
    """
    app.pretty_exceptions_enable = False
    # A command lives for half a second, and a third of that would go into collecting garbage: while modules are
    # imported, and once more over all of them at the exit.
    gc.set_threshold(GC_THRESHOLD)
    atexit.register(gc.freeze)
    level = os.environ.get("TENANTRY_LOG")
    if level:
        logging.basicConfig(level=logging.getLevelNamesMapping().get(level.upper(), logging.DEBUG), format=LOG_FORMAT)
    else:
        # Without any handler Python prints warnings to stderr, beside the one line that says the same.
        logging.getLogger().addHandler(logging.NullHandler())
    try:
        app()
    except TenancyError as error:
        logger.debug("command failed", exc_info=error)
        say(f"error: {error}")
        raise SystemExit(error.exit_code) from error
    raise SystemExit(0)
