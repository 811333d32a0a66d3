"""The logo of the letterhead: a PNG or JPEG, kept with the organisation as a ``data:`` URL.

It is looked at when it is set, so that no report fails for it; nothing is drawn here.
"""

from __future__ import annotations

import base64
import binascii
import io
import re

from beak_lims.errors import InputRejected

MAX_LOGO = 100 * 1024  # bytes of the picture; it stands in every report
MAX_TEXT = MAX_LOGO * 4 // 3 + 100  # characters of its URL
MAX_SIDE = 4_000  # pixels
FORM = "data:image/png;base64,..."
_DATA_URL = re.compile(r"data:image/(png|jpeg);base64,([A-Za-z0-9+/=\s]+)")


def picture_of(text: str) -> bytes:
    """The picture in a ``data:`` URL. :raises InputRejected: it is none that can be printed."""
    found = _DATA_URL.fullmatch(text.strip())
    if found is None:
        raise InputRejected("Logo", text[:40], f"send a PNG or JPEG as {FORM}")
    try:
        picture = base64.b64decode(found[2], validate=False)
    except binascii.Error:
        raise InputRejected("Logo", text[:40], "its base64 is damaged.") from None
    if len(picture) > MAX_LOGO:
        raise InputRejected("Logo", f"{len(picture)} bytes", f"at most {MAX_LOGO // 1024} kB are printed.")
    _check(picture, found[1])
    return picture


def _check(picture: bytes, kind: str) -> None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(picture), formats=[kind.upper()]) as image:
            if max(image.size) > MAX_SIDE:
                raise InputRejected("Logo", "x".join(map(str, image.size)), f"at most {MAX_SIDE} pixels a side.")
            image.load()
    except InputRejected:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise InputRejected("Logo", kind, "it is no such picture, or it is damaged.") from error
