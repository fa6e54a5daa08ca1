"""The page of a mirror: one image's commands, and every client's configuration."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from entrepot.oci.address import DOCKER_HUB
from entrepot.oci.errors import RegistryError
from entrepot.services.client_configuration import Configuration, configurations
from entrepot.services.pull_commands import Client, Names, commands, hosted_names, mirrored_names
from entrepot.web.address import Address
from entrepot.web.message import Response
from entrepot.web.pages import layout

_EXAMPLES: Final = {
    "quay.io": "quay.io/prometheus/busybox:latest",
    "registry.k8s.io": "registry.k8s.io/pause:3.10",
    "gcr.io": "gcr.io/distroless/static:latest",
    "public.ecr.aws": "public.ecr.aws/docker/library/alpine:latest",
}
"""Small images that there are."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """What is told of a server: the registries it mirrors (none: it hosts what it has), whether
    any other may be named, what names without a registry mean, and whether it needs a login.
    `known` are all names that lead to upstreams, also to those that clients are sent to; empty:
    those of `upstreams`."""

    upstreams: Sequence[str] = ()
    default_registry: str = ""
    anything: bool = False
    login: bool = False
    known: Sequence[str] = ()

    @property
    def example(self) -> str:
        """The image that is shown before anybody has asked for one."""
        if not self.mirrors:
            return "team/app:1.0"
        hub = DOCKER_HUB in self._known or (self.anything and not self.upstreams)
        if self.default_registry == DOCKER_HUB or (hub and not self.default_registry):
            return "ubuntu:latest"
        # A port cannot stand inside a name, an alias can.
        names = (self.default_registry, *self.upstreams, *self._known)
        first = next((name for name in names if name and ":" not in name), "")
        return _EXAMPLES.get(first, f"{first}/team/app:1.0" if first else "ubuntu:latest")

    @property
    def _known(self) -> Sequence[str]:
        return self.known or self.upstreams

    @property
    def mirrors(self) -> bool:
        return bool(self.upstreams or self.default_registry or self.anything)

    def configurations(self, address: Address) -> tuple[Configuration, ...]:
        """Return every client's configuration for this server."""
        return configurations(str(address), self.upstreams, self.default_registry)

    def names(self, address: Address, image: str, client: Client) -> Names:
        """Return an image's names here and at the client. Raise NameInvalid and its like."""
        if self.mirrors:
            default = self.default_registry
            known = None if self.anything else {*self._known, *([default] if default else [])}
            return mirrored_names(str(address), image, client, default, known)
        return hosted_names(str(address), image)

    def commands(self, address: Address, image: str, client: Client) -> str:
        """Return the lines that pull an image. Raise NameInvalid and its like."""
        return commands(str(address), self.names(address, image, client), client)

    def text(self, address: Address) -> str:
        """Return what the page says, for a terminal."""
        lines = [f"Entrepot at {address}", "", self._summary(), ""]
        try:
            lines += [self.commands(address, self.example, "docker"), ""]
        except RegistryError as error:  # no upstream has a name that an image's can begin with
            lines += [error.message, ""]
        lines += [f"Other images: {address}/_/commands?image=NAME&client=docker|podman|nerdctl"]
        if self.mirrors:
            lines += ["Client configuration:"]
            lines += [
                f"  {address}/_/config/{one.client}  {one.title}"
                for one in self.configurations(address)
            ]
        return "\n".join(lines) + "\n"

    def document(self, address: Address) -> str:
        """Return every configuration as JSON: `{client: {path: text}}`."""
        shown = {one.client: dict(one.files) for one in self.configurations(address)}
        return json.dumps(shown, indent=2) + "\n"

    def page(
        self, address: Address, image: str, client: Client, shown: str, wrong: str
    ) -> Response:
        """Return the page; `shown` are the commands, `wrong` says what is wrong with the name."""
        host = escape(address.host)
        header = f"<h1>Pull images through {host}</h1>\n<p>{escape(self._summary())}</p>"
        login = (
            f"<p>This server needs a login: <code>{escape(client)} login {host}</code></p>\n"
            if self.login
            else ""
        )
        main = f"""<section aria-labelledby="one">
<h2 id="one">One image</h2>
{layout.command_form(image, client, self.example)}
{layout.problem(wrong)}
{layout.copied("commands", shown, "commands")}
{login}{_plain_note(address)}</section>
{self._setup(address) if self.mirrors else ""}"""
        return layout.html_page(f"Pull images through {address.host}", header, main)

    def _summary(self) -> str:
        if not self.mirrors:
            return "A registry. Images are pushed to it and pulled from it."
        named = ", ".join(self.upstreams)
        if self.anything:
            named = f"{named} and any other registry" if named else "any registry"
        elif not named:
            named = self.default_registry
        return (
            f"Images of {named} are fetched once and kept here: the next pull is local, and works "
            "when the registry does not."
        )

    def _setup(self, address: Address) -> str:
        shown = "\n".join(
            _configuration(one, first=not number)
            for number, one in enumerate(self.configurations(address))
        )
        return f"""<section aria-labelledby="all">
<h2 id="all">Every image, set up once</h2>
<p>With this, clients keep the names they know and pull through this server; if it is away, they
go to the registry itself.</p>
{self._login_note(address)}{shown}
</section>"""

    def _login_note(self, address: Address) -> str:
        """Say how clients find the login for their mirror."""
        if not self.login:
            return ""
        return (
            f"<p>They send the login that they have for <code>{escape(address.host)}</code>. "
            "Docker alone sends its mirrors that of Docker Hub, which does not do here: pull as "
            "above.</p>\n"
        )


def _configuration(one: Configuration, *, first: bool) -> str:
    texts = []
    for number, (path, text) in enumerate(one.files.items()):
        if not text:  # the reason is told
            continue
        name = f"{one.client}-{number}"
        texts.append(f'<p class="path"><code>{escape(path)}</code></p>')
        texts.append(layout.copied(name, text.rstrip("\n"), path))
    reason = f'<p class="advice">{escape(one.reason)}</p>\n' if one.reason else ""
    return f"""<details{" open" if first else ""}>
<summary>{escape(one.title)}</summary>
<div>{reason}<p class="advice">{escape(one.advice)}</p>
{"".join(texts)}
<p class="path"><a href="/_/config/{one.client}">as text</a></p></div>
</details>"""


def _plain_note(address: Address) -> str:
    """Say what Docker needs for plain HTTP from other machines."""
    if address.scheme != "http":
        return ""
    return (
        '<p class="advice">This server speaks plain HTTP. Docker takes that from other machines '
        "only with <code>insecure-registries</code>, as in its configuration below.</p>\n"
    )
