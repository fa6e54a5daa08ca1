"""The proxy: names that lead to other registries, and what becomes of a request for one."""

from dataclasses import dataclass

from entrepot.rules.source_routing import Question, RoutingTable, resolve
from entrepot.rules.sources import Source
from entrepot.services.mirror import Mirror
from entrepot.services.redirects import Redirects


@dataclass(slots=True)
class Proxy:
    """The routes in force, and what serves them. `table` is replaced when upstreams come and go;
    a request keeps the one it began with."""

    table: RoutingTable
    mirror: Mirror
    redirects: Redirects

    def source(self, question: Question) -> Source:
        """Return what a question leads to. Raise Denied, NameUnknown or NameInvalid."""
        return resolve(self.table, question)
