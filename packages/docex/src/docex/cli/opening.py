"""The DocEX object of one command, and the arguments that several commands share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from docex.application import DocEX
    from docex.docbasket import DocBasket
    from docex.document import Document

TenantOption = Annotated[
    str | None, typer.Option("--tenant-id", help="The tenant. Required when multi-tenancy is enabled.")
]
BasketOption = Annotated[str, typer.Option("--basket-id", help="The basket.")]
DocumentOption = Annotated[str, typer.Option("--document-id", help="The document.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="At most so many.")]
OffsetOption = Annotated[int, typer.Option(min=0, help="Pass over so many first.")]


def opened(tenant_id: str | None) -> DocEX:
    """DocEX for one tenant, or for the installation without tenants. A command makes no tenant by mentioning it.

    Who may run commands on this machine may read its configuration and its files, and so has every role.
    """
    from docex.application import DocEX
    from docex.context import UserContext

    return DocEX(UserContext(user_id=operator(), tenant_id=tenant_id, roles=["admin"]), provision=False)


def opened_basket(tenant_id: str | None, basket_id: str) -> DocBasket:
    """A basket of the tenant. :raises BasketNotFound: there is none of that id."""
    from docex.errors import BasketNotFound

    basket = opened(tenant_id).get_basket(basket_id)
    if basket is None:
        raise BasketNotFound(basket_id)
    return basket


def opened_document(tenant_id: str | None, document_id: str, basket_id: str | None = None) -> Document:
    """A document of the tenant. :raises DocumentNotFound: there is none of that id, or not in that basket."""
    from docex.errors import DocumentNotFound

    document = opened(tenant_id).get_document(document_id, basket_id)
    if document is None:
        raise DocumentNotFound(document_id)
    return document


def confirm_removal(what: str, *, yes: bool) -> None:
    """Ask whether to remove something, unless ``yes``. :raises NotConfirmed: the answer is no, or nobody can answer."""
    from docex.errors import NotConfirmed

    if yes:
        return
    try:
        confirmed = typer.confirm(f"Remove {what}?", err=True)
    except typer.Abort as error:
        typer.echo(err=True)  # the question stands there without an answer
        raise NotConfirmed(what) from error
    if not confirmed:
        raise NotConfirmed(what)


def operator() -> str:
    """Who runs the command, for the audit trail."""
    from tenantry.registry.actor import current

    return current().name


def parsed(text: str, option: str) -> dict[str, Any]:
    """The JSON object that an option holds. :raises typer.BadParameter: it is none."""
    expected = "expected a JSON object, such as '{\"year\": 2024}'"
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{expected}: {error}", param_hint=option) from error
    if not isinstance(value, dict):
        raise typer.BadParameter(expected, param_hint=option)
    return value
