"""Sources: what a name resolves to. Here, at another registry that is cached, or elsewhere.

`rules/source_routing` decides which; services and faces act upon it.
"""

from dataclasses import dataclass

from entrepot.oci.reference import RepositoryName


@dataclass(frozen=True, slots=True)
class Hosted:
    """A repository of this registry."""

    name: RepositoryName

    @property
    def access_name(self) -> str:
        """What rules of access call it."""
        return self.name


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A repository of an upstream, cached here. `name` is what the upstream calls it."""

    upstream: str
    name: RepositoryName

    @property
    def repository(self) -> str:
        """What the cache calls it; all aliases of an upstream share it."""
        return f"{self.upstream}/{self.name}"

    @property
    def access_name(self) -> str:
        """What rules of access call it."""
        return self.repository


@dataclass(frozen=True, slots=True)
class Redirected:
    """A repository of an upstream to which clients are sent."""

    upstream: str
    name: RepositoryName

    @property
    def access_name(self) -> str:
        """What rules of access call it."""
        return f"{self.upstream}/{self.name}"


Source = Hosted | Mirrored | Redirected
