"""The frame of every page: one HTML document with its style and script inside, and nothing from
anywhere else. The Content-Security-Policy names both by their hashes, so that no other runs.

What is put into a page goes through `escape`, or is made of what has.
"""

import base64
import hashlib
from html import escape
from importlib.resources import files
from typing import Final

from entrepot.ports.delivery import Inline
from entrepot.services.pull_commands import CLIENTS, Client
from entrepot.web.message import Header, Response

_FOLDER: Final = files(__package__)
STYLE: Final = (_FOLDER / "style.css").read_text("utf-8")
SCRIPT: Final = (_FOLDER / "page.js").read_text("utf-8")


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"


POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_source(STYLE)}",
        f"script-src {_source(SCRIPT)}",
        "img-src data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

_HEADERS: Final[tuple[Header, ...]] = (
    ("Cache-Control", "no-store"),
    ("Vary", "Accept"),
)
_HTML_HEADERS: Final[tuple[Header, ...]] = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    *_HEADERS,
)


def html_page(title: str, header: str, main: str) -> Response:
    """Return a page; `title` is text, the other two are HTML."""
    document = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header>
{header}
</header>
<main>
{main}
</main>
<footer><p>Served by Entrepot. Its state: <a href="/_/health">health</a>.</p></footer>
<p id="said" class="said" role="status"></p>
<script>{SCRIPT}</script>
</body>
</html>
"""
    return Response(200, list(_HTML_HEADERS), Inline(document.encode()))


def text_page(text: str, status: int = 200, media_type: str = "text/plain") -> Response:
    """Return plain text, or a document of another type of text."""
    return Response(
        status,
        [("Content-Type", f"{media_type}; charset=utf-8"), *_HEADERS],
        Inline(text.encode()),
    )


def copied(name: str, text: str, label: str) -> str:
    """Return text that a button copies; `name` is the element's, `label` says what it is."""
    return (
        f'<div class="text"><pre id="{escape(name)}" tabindex="0" role="region" '
        f'aria-label="{escape(label)}">{escape(text)}</pre>'
        f'<button type="button" hidden data-copies="{escape(name)}" '
        f'aria-label="Copy {escape(label)}">Copy</button></div>'
    )


def command_form(image: str, client: Client, placeholder: str) -> str:
    """Return the form that asks for an image's name and a client."""
    choices = "\n".join(
        f'<label><input type="radio" name="client" value="{escape(one)}"'
        f"{' checked' if one == client else ''}>{escape(one)}</label>"
        for one in CLIENTS
    )
    return f"""<form action="/" method="get">
<div class="image"><label for="image">Image name</label>
<input type="text" id="image" name="image" value="{escape(image)}"
 placeholder="{escape(placeholder)}" maxlength="512" aria-describedby="problem"
 autocomplete="off" autocapitalize="none" spellcheck="false"></div>
<fieldset><legend>Client</legend><div class="choice">
{choices}
</div></fieldset>
<button>Show commands</button>
</form>"""


def problem(text: str) -> str:
    """Return the place where it is said what is wrong with a name; empty if nothing is."""
    return f'<p id="problem" class="problem" role="alert">{escape(text)}</p>'
