"""Who comes in: a token opens the DocEX object of its tenant, its user and its roles, and nothing else."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from docex.application import DocEX
from docex.context import UserContext
from docex.docbasket import DocBasket
from docex.document import Document
from docex.errors import BasketNotFound, DocumentNotFound, TenantError, TokenRefused
from docex.services.token_service import TokenService, tenant_of

OPEN = 1024  # objects that are kept; they hold no connection of their own
_bearer = HTTPBearer(auto_error=False, description="`docex token create` makes a token")


class Doors:
    """Keeps the objects that were opened. Every request asks the database whether its token is still good."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str | None, str, tuple[str, ...]], DocEX] = OrderedDict()
        self._guard = threading.Lock()

    def enter(self, token: str) -> DocEX:
        """The tenant's documents for whoever has the token. :raises TokenRefused: nobody has."""
        tenant_id = tenant_of(token)
        try:
            bearer = TokenService(self._opened(tenant_id, "http", ()).db).bearer(token)
        except TenantError as error:
            # Told apart, the answers would tell which tenants there are.
            raise TokenRefused() from error
        return self._opened(tenant_id, bearer.user_id, tuple(bearer.roles))

    def _opened(self, tenant_id: str | None, user_id: str, roles: tuple[str, ...]) -> DocEX:
        key = (tenant_id, user_id, roles)
        with self._guard:
            found = self._open.get(key)
            if found is not None:
                self._open.move_to_end(key)
                return found
        made = DocEX(UserContext(user_id=user_id, tenant_id=tenant_id, roles=list(roles)), provision=False)
        # Over HTTP roles always count. The door itself has none, and only looks tokens up.
        made.db.enforced = bool(roles)
        with self._guard:
            self._open[key] = made
            while len(self._open) > OPEN:
                self._open.popitem(last=False)
        return made


def entered(request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> DocEX:
    """The documents of the request's tenant. :raises TokenRefused: its token is not good."""
    if credentials is None:
        raise TokenRefused()
    doors: Doors = request.app.state.doors
    return doors.enter(credentials.credentials)


Entered = Annotated[DocEX, Depends(entered)]


def basket_of(docex: DocEX, basket_id: str) -> DocBasket:
    """A basket of the tenant. :raises BasketNotFound: there is none of that id."""
    basket = docex.get_basket(basket_id)
    if basket is None:
        raise BasketNotFound(basket_id)
    return basket


def document_of(docex: DocEX, document_id: str) -> Document:
    """A document of the tenant. :raises DocumentNotFound: there is none of that id."""
    document = docex.get_document(document_id)
    if document is None:
        raise DocumentNotFound(document_id)
    return document
