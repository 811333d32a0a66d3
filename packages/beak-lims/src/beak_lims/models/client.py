"""The facilities that send samples, and the people there; all laboratories of the organisation share them."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, String, Text, false, true
from sqlalchemy.orm import Mapped, mapped_column

from beak_lims.models.base import CODE_LENGTH, EMAIL_LENGTH, NAME_LENGTH, Record
from beak_lims.models.place import Placed


class Client(Placed, Record):
    """A requesting facility."""

    __tablename__ = "client"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), index=True)
    code: Mapped[str] = mapped_column(String(CODE_LENGTH), unique=True)
    email: Mapped[str | None] = mapped_column(String(EMAIL_LENGTH))
    mobile_phone: Mapped[str | None] = mapped_column(String(64))
    business_phone: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str | None] = mapped_column(Text)
    consent_email: Mapped[bool] = mapped_column(Boolean, server_default=false())
    consent_sms: Mapped[bool] = mapped_column(Boolean, server_default=false())
    internal_use: Mapped[bool] = mapped_column(Boolean, server_default=false())
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())


class ClientContact(Record):
    """A person of a client, who may be named on requests. Contacts do not log in."""

    __tablename__ = "client_contact"

    client_uid: Mapped[str] = mapped_column(ForeignKey("client.uid", ondelete="CASCADE"), index=True)
    first_name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    last_name: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    email: Mapped[str | None] = mapped_column(String(EMAIL_LENGTH))
    mobile_phone: Mapped[str | None] = mapped_column(String(64))
    business_phone: Mapped[str | None] = mapped_column(String(64))
    consent_sms: Mapped[bool] = mapped_column(Boolean, server_default=false())
    active: Mapped[bool] = mapped_column(Boolean, server_default=true())
