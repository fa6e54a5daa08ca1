"""The page of a server that only redirects: what it is, where images are, a pull line, and how it
is (RD-04)."""

from dataclasses import dataclass
from html import escape
from urllib.parse import urlsplit

from entrepot.services.pull_commands import Client, commands, hosted_names
from entrepot.web.address import Address
from entrepot.web.message import Response
from entrepot.web.pages import layout

EXAMPLE = "app:latest"


@dataclass(frozen=True, slots=True)
class Redirecting:
    """Where all names are (`https://HOST/v2/PREFIX/`), and how it is there, in words."""

    upstream: str
    status: str = "redirecting"
    example: str = EXAMPLE

    def commands(self, address: Address, image: str, client: Client) -> str:
        """Return the line that pulls an image. Raise NameInvalid and its like."""
        return commands(str(address), hosted_names(str(address), image), client)

    def target(self, address: Address, image: str) -> str:
        """Return what an image is called where it is. Raise NameInvalid and its like."""
        parts = urlsplit(self.upstream)
        prefix = parts.path.removeprefix("/v2/")
        here = hosted_names(str(address), image).pulled.removeprefix(f"{address.host}/")
        return f"{parts.netloc}/{prefix}{here}"

    def text(self, address: Address) -> str:
        """Return what the page says, for a terminal."""
        return (
            f"Entrepot at {address}\n\n"
            f"Images named {address.host}/… are at {self.upstream}; clients are sent there.\n"
            f"Status: {self.status}\n\n"
            f"{self.commands(address, self.example, 'docker')}\n\n"
            f"is {self.target(address, self.example)}\n"
        )

    def page(
        self, address: Address, image: str, client: Client, shown: str, wrong: str
    ) -> Response:
        """Return the page; `shown` is the pull line, `wrong` says what is wrong with the name."""
        host = escape(address.host)
        header = (
            f"<h1>Images at {host}</h1>\n<p>This is a name for images, not a place: whoever pulls "
            f"<code>{host}/…</code> is sent to the registry where they are. The name stays when "
            "they move.</p>"
        )
        main = f"""<section aria-labelledby="one">
<h2 id="one">Pull an image</h2>
{layout.command_form(image, client, self.example)}
{layout.problem(wrong)}
{layout.copied("commands", shown, "commands")}
</section>
<section aria-labelledby="state">
<h2 id="state">Where it leads</h2>
<dl>
<dt>Name</dt><dd><code>{host}</code></dd>
<dt>Upstream</dt><dd><code>{escape(self.upstream)}</code></dd>
<dt>For example</dt><dd><code>{host}/{escape(self.example)}</code> is
<code>{escape(self.target(address, self.example))}</code></dd>
<dt>Status</dt><dd>{escape(self.status)}</dd>
</dl>
</section>"""
        return layout.html_page(f"Images at {address.host}", header, main)
