"""Routes of the facilities that send samples, and of the people there."""

from __future__ import annotations

from beak_lims.api.bodies import CLIENTS
from beak_lims.api.crud import Noun, add_crud
from beak_lims.api.routing import LabRouter
from beak_lims.models import ClientContact

router = LabRouter(tags=["clients"])

CONTACTS = Noun(
    ClientContact, "/client-contacts", "CLIENT", search=("first_name", "last_name", "email"), fixed=("client_uid",)
)

add_crud(router, CLIENTS)
add_crud(router, CONTACTS)
