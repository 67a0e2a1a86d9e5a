"""The catalogue: provinces, domains, lists, departments and code tables, as data with effective dates and sources.

A person corrects it by editing one CSV file (docs/catalogue.md); `xinliu catalogue check` names every bad line.
"""

from schemas.catalogue.files import choose, load
from schemas.catalogue.model import Catalogue, Department
from schemas.catalogue.reader import CatalogueError

__all__ = ["Catalogue", "CatalogueError", "Department", "choose", "load"]
