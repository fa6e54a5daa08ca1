"""What `entrepot upstream check` asks, and what each endpoint answers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from entrepot.cli.upstream_places import Configured
from entrepot.client import Client
from entrepot.oci.errors import RegistryError

if TYPE_CHECKING:
    from entrepot.oci.digest import Digest
    from entrepot.oci.reference import RepositoryName, Tag
    from entrepot.ports.upstream_endpoint import UpstreamEndpoint


@dataclass(frozen=True, slots=True)
class Question:
    """An upstream, and an image of it: as it was typed, and what the upstream calls it."""

    upstream: str
    image: str = ""
    name: "RepositoryName | None" = None
    reference: "Tag | Digest | None" = None


@dataclass(slots=True)
class Answer:
    """What one endpoint has said."""

    question: Question
    endpoint: str
    seconds: float = 0.0
    authentication: str = ""
    authorised: bool = False
    digest: str = ""
    remaining: int | None = None
    error: RegistryError | None = None

    def row(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "upstream": self.question.upstream,
            "endpoint": self.endpoint,
            "image": self.question.image,
            "state": "failed" if self.error else "ok",
            "seconds": round(self.seconds, 3),
            "authentication": self.authentication,
            "authorised": self.authorised,
            "digest": self.digest,
            "remaining": self.remaining,
            "error": self.error and {"code": self.error.code, "message": self.error.message},
        }

    def line(self) -> tuple[str, ...]:
        """Return it for people: the cells of a row."""
        detail = self.error.message if self.error else self.digest or self._access()
        state = "failed" if self.error else "ok"
        milliseconds = f"{self.seconds * 1000:.0f} ms"
        return self.question.upstream, self.endpoint, state, milliseconds, detail

    def _access(self) -> str:
        login = "logged in or open" if self.authorised else "without a login"
        left = "" if self.remaining is None else f", {self.remaining} requests left"
        return f"{login}{left}"


def question(known: Configured, word: str) -> Question:
    """Read a name, or an image of an upstream. Raise NameUnknown, NameInvalid, Denied."""
    host, slash, rest = word.partition("/")
    upstream = known.find(host)
    if not slash:
        return Question(upstream)
    from entrepot.oci.reference import Reference, Tag
    from entrepot.rules.source_routing import Route

    asked = Reference.parse(f"upstream.test/{rest}")  # the host may be a word, which is none here
    settings = known.upstreams[upstream]
    route = Route.of(
        upstream,
        preset=settings.preset,
        official=settings.official,
        rewrites=settings.rewrites,
        allow=settings.allow,
        deny=settings.deny,
    )
    name = route.source(asked.repository).name
    return Question(upstream, word, name, asked.digest or asked.tag or Tag("latest"))


async def ask(client: Client, known: Configured, questions: Sequence[Question]) -> Sequence[Answer]:
    """Ask every endpoint of every question's upstream; answers stand in that order."""
    asked = [
        (one, patient.endpoint)
        for one in questions
        for patient in await client.patients(one.upstream, known.upstreams[one.upstream])
    ]
    return await asyncio.gather(*(_answer(one, endpoint) for one, endpoint in asked))


async def _answer(question: Question, endpoint: "UpstreamEndpoint") -> Answer:
    answer, began = Answer(question, endpoint.url), monotonic()
    try:
        ping = await endpoint.ping()
        answer.authentication, answer.authorised = ping.authentication, ping.authorised
        if question.name is not None and question.reference is not None:
            found = await endpoint.head(question.name, question.reference)
            answer.digest = str(found.digest)
    except RegistryError as error:
        answer.error = error
    answer.seconds = monotonic() - began
    if endpoint.rate_limit is not None:
        answer.remaining = endpoint.rate_limit.remaining
    return answer
