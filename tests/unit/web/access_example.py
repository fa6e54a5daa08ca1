"""Ada's server in tests of what a login opens: `apps/*` and `docker.io/acme/*` are private."""

from dataclasses import dataclass, field
from typing import Final

from entrepot.protocol.challenges import Scope, render_basic, render_bearer
from entrepot.services.access import Access
from entrepot.web.address import Address, address_of
from entrepot.web.message import Request
from entrepot.web.v2.guard import Guard

RIGHT: Final = render_basic("ada", "secret")
WRONG: Final = render_basic("ada", "hunter2")


class StoppedClock:
    """A clock that stands at 2023-11-14T22:13:20Z."""

    def now(self) -> float:
        return 1_700_000_000.0


@dataclass
class Door:
    """A guard, what it guards by, and what it has told."""

    private: tuple[str, ...] = ("apps/*", "docker.io/acme/*")
    username: str = "ada"
    password: str = "secret"
    external_url: str = ""
    told: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.access = Access(
            self.username, self.password, self.private, bytes(32), 300.0, StoppedClock()
        )
        self.guard = Guard(self.access, self.address_of, self._tell)

    def address_of(self, request: Request) -> Address:
        return address_of(request, self.external_url, ())

    def token(self, *scopes: Scope, login: str | None = None) -> str:
        """Return the Authorization of a token for who logs in so."""
        return render_bearer(self.access.grant(self.access.log_in(login), scopes).token)

    def _tell(self, _: Request, username: str, reason: str) -> None:
        self.told.append((username, reason))


def closed() -> Door:
    """Return the door of a server that is private as a whole."""
    return Door(("*",))


def wide_open() -> Door:
    """Return the door of a server without a user."""
    return Door(("*",), "", "")
