"""The catalogue: provinces, domains, lists, departments and code tables, as data with effective dates and sources.

A person corrects it by editing one CSV file (docs/catalogue.md); `xinliu catalogue check` names every bad line.
"""

from schemas.catalogue.loading import CatalogueError, choose, load
from schemas.catalogue.model import Catalogue, Department

__all__ = ["Catalogue", "CatalogueError", "Department", "choose", "load"]
