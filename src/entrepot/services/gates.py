"""Gates: what every change of the registry passes before it happens.

A gate is a small async callable that returns, or raises the refusal. They run in order; the
first refusal ends the request. Authorisation, quota, immutability and acceptance policy are
gates too when they come: no service knows which ones there are.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from entrepot.oci.digest import Digest
from entrepot.oci.errors import Unsupported
from entrepot.oci.reference import RepositoryName, Tag


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. `name` is what sessions and events record."""

    name: str


ANONYMOUS = Actor("anonymous")

Action = Literal["push blob", "push manifest", "delete blob", "delete manifest", "delete tag"]


@dataclass(frozen=True, slots=True)
class Change:
    """What is about to happen to a repository."""

    action: Action
    actor: Actor
    repository: RepositoryName
    digest: Digest | None = None
    tags: tuple[Tag, ...] = ()


Gate = Callable[[Change], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Gates:
    """The gates in force, in order."""

    gates: tuple[Gate, ...] = ()

    async def admit(self, change: Change) -> None:
        """Return if every gate lets the change pass; raise the first refusal."""
        for gate in self.gates:
            await gate(change)


def deletes_switched_off(*, tags: bool, manifests: bool, blobs: bool) -> Gate:
    """Refuse the deletes that are switched off (each argument: whether it is allowed)."""
    allowed = {"delete tag": tags, "delete manifest": manifests, "delete blob": blobs}

    async def gate(change: Change) -> None:
        if not allowed.get(change.action, True):
            noun = change.action.removeprefix("delete ")
            raise Unsupported(
                f"this registry does not delete {noun}s; its operator can allow it with the "
                f"setting registry.delete_{noun}s"
            )

    return gate
