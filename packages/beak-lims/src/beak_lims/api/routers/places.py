"""Routes of countries, provinces and districts."""

from __future__ import annotations

from beak_lims.api.crud import Noun, add_crud
from beak_lims.api.routing import LabRouter
from beak_lims.models import Country, District, Province

router = LabRouter(tags=["places"])

add_crud(router, Noun(Country, "/countries", "LABORATORY", search=("name", "code")))
add_crud(router, Noun(Province, "/provinces", "LABORATORY", search=("name", "code")))
add_crud(router, Noun(District, "/districts", "LABORATORY", search=("name", "code")))
