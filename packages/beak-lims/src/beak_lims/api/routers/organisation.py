"""Routes of the organisation, its laboratories, and their settings."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends
from pydantic import Field

from beak_lims.api.crud import Noun, row_of, schemas_of, typed
from beak_lims.api.doors import Work, permit
from beak_lims.api.fields import Uid
from beak_lims.api.paging import LISTED, Page, Paged
from beak_lims.api.routing import LabRouter
from beak_lims.models import Laboratory, LaboratorySetting, Organization, OrganizationSetting
from beak_lims.reports.logo import MAX_TEXT
from beak_lims.services import organisation

router = LabRouter(tags=["organisation"])

Logo = Annotated[str, Field(max_length=MAX_TEXT, description="A PNG or JPEG as a `data:` URL, for the letterhead")]
ORGANISATION = Noun(Organization, "/organisation", "ORGANISATION", hidden=("setup_name",), fields={"logo": Logo})
ORGANISATION_SETTING = Noun(OrganizationSetting, "/organisation/settings", "ORGANISATION", hidden=("organization_uid",))
LABORATORY = Noun(Laboratory, "/laboratories", "LABORATORY", hidden=("organization_uid",))
LABORATORY_SETTING = Noun(LaboratorySetting, "/laboratories/{uid}/settings", "LABORATORY")

_of_organisation = schemas_of(ORGANISATION)
_of_its_setting = schemas_of(ORGANISATION_SETTING)
_of_laboratory = schemas_of(LABORATORY)
_of_setting = schemas_of(LABORATORY_SETTING)

ReadingAll = Annotated[Work, Depends(permit("READ", "ORGANISATION"))]
ChangingAll = Annotated[Work, Depends(permit("UPDATE", "ORGANISATION"))]
Reading = Annotated[Work, Depends(permit("READ", "LABORATORY"))]
Making = Annotated[Work, Depends(permit("CREATE", "LABORATORY"))]
Changing = Annotated[Work, Depends(permit("UPDATE", "LABORATORY"))]


def _saved(lab: Work, noun: Noun, row: Any, body: Any) -> dict[str, Any]:
    organisation.change(lab.session, row, body.model_dump(exclude_unset=True))
    lab.session.refresh(row)
    return row_of(noun, row)


def read_organisation(lab: Work) -> dict[str, Any]:
    return row_of(ORGANISATION, organisation.organisation(lab.session))


def update_organisation(lab: Work, body: Any) -> dict[str, Any]:
    return _saved(lab, ORGANISATION, organisation.organisation(lab.session), body)


def read_organisation_settings(lab: Work) -> dict[str, Any]:
    return row_of(ORGANISATION_SETTING, organisation.organisation_setting(lab.session))


def update_organisation_settings(lab: Work, body: Any) -> dict[str, Any]:
    return _saved(lab, ORGANISATION_SETTING, organisation.organisation_setting(lab.session), body)


def list_laboratories(lab: Work, page: Page) -> list[dict[str, Any]]:
    return [row_of(LABORATORY, row) for row in page.of(lab, organisation.query(lab.context))]


def create_laboratory(lab: Work, body: Any) -> dict[str, Any]:
    made = organisation.add_laboratory(lab.session, lab.context, body.model_dump(exclude_unset=True))
    lab.session.refresh(made)
    return row_of(LABORATORY, made)


def read_laboratory(lab: Work, uid: str) -> dict[str, Any]:
    return row_of(LABORATORY, organisation.get_laboratory(lab.session, lab.context, uid))


def update_laboratory(lab: Work, uid: str, body: Any) -> dict[str, Any]:
    return _saved(lab, LABORATORY, organisation.get_laboratory(lab.session, lab.context, uid), body)


def read_laboratory_settings(lab: Work, uid: str) -> dict[str, Any]:
    return row_of(LABORATORY_SETTING, organisation.laboratory_setting(lab.session, lab.context, uid))


def update_laboratory_settings(lab: Work, uid: str, body: Any) -> dict[str, Any]:
    return _saved(lab, LABORATORY_SETTING, organisation.laboratory_setting(lab.session, lab.context, uid), body)


def _add() -> None:
    """Give the router its routes; their models are made from the tables, so their signatures are too."""
    whole, whole_setting, one, setting = _of_organisation, _of_its_setting, _of_laboratory, _of_setting
    reading_all, changing_all = {"lab": ReadingAll}, {"lab": ChangingAll}
    reading, changing = {"lab": Reading, "uid": Uid}, {"lab": Changing, "uid": Uid}

    def body(model: Any) -> dict[str, Any]:
        return {"body": Annotated[model, Body()]}

    at, settings = "/laboratories/{uid}", "/laboratories/{uid}/settings"
    routes: list[tuple[str, str, Any, dict[str, Any], Any, str]] = [
        ("GET", "/organisation", read_organisation, reading_all, whole.row, "The organisation"),
        ("PATCH", "/organisation", update_organisation, changing_all | body(whole.change), whole.row, "Change it"),
        (
            "GET",
            "/organisation/settings",
            read_organisation_settings,
            reading_all,
            whole_setting.row,
            "What holds for its laboratories",
        ),
        (
            "PATCH",
            "/organisation/settings",
            update_organisation_settings,
            changing_all | body(whole_setting.change),
            whole_setting.row,
            "Change what holds for its laboratories",
        ),
        (
            "GET",
            "/laboratories",
            list_laboratories,
            {"lab": Reading, "page": Paged},
            list[one.row],  # type: ignore[name-defined]  # a class that was made
            "One's own laboratories",
        ),
        ("POST", "/laboratories", create_laboratory, {"lab": Making} | body(one.new), one.row, "Make a laboratory"),
        ("GET", at, read_laboratory, reading, one.row, "One laboratory"),
        ("PATCH", at, update_laboratory, changing | body(one.change), one.row, "Change a laboratory"),
        ("GET", settings, read_laboratory_settings, reading, setting.row, "How a laboratory works"),
        (
            "PATCH",
            settings,
            update_laboratory_settings,
            changing | body(setting.change),
            setting.row,
            "Change how a laboratory works",
        ),
    ]
    for method, path, function, parameters, returns, summary in routes:
        router.add_api_route(
            path,
            typed(function, function.__name__, parameters, returns),
            methods=[method],
            status_code=201 if method == "POST" else 200,
            responses=LISTED if function is list_laboratories else None,
            summary=summary,
        )


_add()
