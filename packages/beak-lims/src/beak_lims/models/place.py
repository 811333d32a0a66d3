"""What the country, province and district of a person or a facility have in common: three optional references."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column


class Placed:
    """Columns of a row that stands at a place. None of the three follows from another: what is known is kept."""

    country_uid: Mapped[str | None] = mapped_column(ForeignKey("country.uid"), index=True, sort_order=80)
    province_uid: Mapped[str | None] = mapped_column(ForeignKey("province.uid"), index=True, sort_order=81)
    district_uid: Mapped[str | None] = mapped_column(ForeignKey("district.uid"), index=True, sort_order=82)
