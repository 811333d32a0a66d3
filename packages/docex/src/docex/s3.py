"""One client of S3 for storage and routes alike: how it is made, and what its errors mean.

Keys come from the configuration, then from boto3's own chain (AWS_* variables, AWS_PROFILE, an instance's role). The
client repeats what failed on the way by itself, with growing delays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from docex.errors import DocexError, ExtraMissing

MULTIPART = 16 * 1024 * 1024  # bytes; what is larger travels in parts
PARTS_AT_ONCE = 4
_ABSENT = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})


@dataclass(frozen=True)
class S3Account:
    """Where the server is and who we are to it."""

    region: str | None = None
    endpoint_url: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    attempts: int = 4  # of each request, the first included
    connect_timeout: float = 60  # seconds
    read_timeout: float = 60  # seconds


class S3Fault(DocexError):
    """What the server or the way to it said. ``absent``: there is no such bucket or object; ``passing``: try again."""

    def __init__(self, reason: str, *, absent: bool = False, passing: bool = False) -> None:
        super().__init__(reason, absent, passing)
        self.reason = reason
        self.absent = absent
        self.passing = passing


def client(account: S3Account, *, needed_by: str, extra: str = "storage-s3") -> Any:
    """A client of boto3's. Connects to nothing yet. :raises ExtraMissing: boto3 is not installed."""
    try:
        import boto3  # type: ignore[import-untyped]  # it has no types
        from botocore.config import Config  # type: ignore[import-untyped]  # it has no types
    except ImportError as error:
        raise ExtraMissing(needed_by, extra) from error
    # A session of its own: boto3's default one is not made for threads.
    session = boto3.session.Session(
        aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key,
        aws_session_token=account.session_token,
        region_name=account.region,
    )
    settings = Config(
        retries={"total_max_attempts": account.attempts, "mode": "standard"},
        connect_timeout=account.connect_timeout,
        read_timeout=account.read_timeout,
        # A server under a name of its own has no name for each bucket.
        s3={"addressing_style": "path" if account.endpoint_url else "auto"},
    )
    with s3_faults():
        try:
            return session.client("s3", endpoint_url=account.endpoint_url, config=settings)
        except ValueError as error:
            raise S3Fault(str(error).rstrip(".")) from error


def transfer() -> Any:
    """How large objects travel."""
    from boto3.s3.transfer import TransferConfig  # type: ignore[import-untyped]  # it has no types

    return TransferConfig(
        multipart_threshold=MULTIPART, multipart_chunksize=MULTIPART, max_concurrency=PARTS_AT_ONCE, use_threads=True
    )


def encryption(kind: str | None, key_id: str | None) -> dict[str, str]:
    """The arguments that have an object encrypted by the server."""
    asked = {} if kind is None else {"ServerSideEncryption": kind}
    return asked | ({} if key_id is None else {"SSEKMSKeyId": key_id})


@contextmanager
def s3_faults() -> Iterator[None]:
    """Turn boto3's errors into one kind. :raises S3Fault: the server said no, or could not be reached."""
    from boto3.exceptions import Boto3Error  # type: ignore[import-untyped]  # it has no types
    from botocore.exceptions import (  # type: ignore[import-untyped]  # it has no types
        BotoCoreError,
        ClientError,
        ConnectionError,
        HTTPClientError,
        IncompleteReadError,
        NoCredentialsError,
        PartialCredentialsError,
    )
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        code = str(told.get("Code", "unknown"))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise S3Fault(
            f"{code}: {told.get('Message') or 'no reason given'}",
            absent=code in _ABSENT or status == 404,
            passing=status >= 500 or code in ("SlowDown", "RequestTimeout", "Throttling"),
        ) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise S3Fault("no credentials were found: configure access_key and secret_key, or set AWS_PROFILE") from error
    except (HTTPClientError, ConnectionError, HTTPError, IncompleteReadError) as error:  # the last two in a body
        raise S3Fault(str(error).rstrip("."), passing=True) from error
    except (BotoCoreError, Boto3Error) as error:
        raise S3Fault(str(error).rstrip(".")) from error
