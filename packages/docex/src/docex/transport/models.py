"""The tables of routes as classes for queries of a script's own, under the names of the public package."""

from docex.models.tables import Base
from docex.models.tables import RouteOperationRow as RouteOperation
from docex.models.tables import RouteRow as Route

__all__ = ["Base", "Route", "RouteOperation"]
