"""The pages in a real browser: the commands follow what is typed, and the copy buttons copy, also
over plain HTTP, where browsers hide the clipboard (UX-03)."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from entrepot.ports.delivery import Inline
from entrepot.web.address import address_of
from entrepot.web.message import Headers, Request
from entrepot.web.pages.mirror import Mirror
from entrepot.web.pages.redirecting import Redirecting
from entrepot.web.pages.site import Site, Subject
from tests.browser.chromium import Chromium
from tests.programs import require_program

pytestmark = [pytest.mark.real("chromium"), pytest.mark.slow]

MIRROR: Final = Mirror(("docker.io", "quay.io"), "docker.io")
REDIRECTING: Final = Redirecting("https://us-docker.pkg.dev/v2/project/images/")
NAMED: Final = "mirror.test"
"""A host that is not this machine to the browser: what it serves over HTTP is not secure."""

Serve = Callable[[Subject], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[ThreadingHTTPServer] = []

    def start(subject: Subject) -> int:
        site = Site(lambda: subject, lambda asked: address_of(asked, "", ()))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                fields = [(name.lower(), value) for name, value in self.headers.items()]
                response = site.answer(Request("GET", path, query, Headers(fields)))
                if response is None or not isinstance(response.body, Inline):
                    self.send_error(404)
                    return
                self.send_response(response.status)
                for name, value in response.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(response.body.length))
                self.end_headers()
                self.wfile.write(response.body.content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def program() -> Path:
    return require_program("chromium")


@pytest.fixture
def browser(program: Path, tmp_path: Path) -> Iterator[Chromium]:
    browser = Chromium(program, tmp_path / "profile", (NAMED,))
    try:
        browser.start()
        clipboard = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        browser.call("Browser.grantPermissions", permissions=clipboard)
        yield browser
    finally:
        browser.close()


def commands(host: str, image: str) -> str:
    return (
        f"docker pull {host}/{image} && \\\n"
        f"docker tag {host}/{image} {image} && \\\n"
        f"docker rmi {host}/{image}"
    )


def shows(text: str) -> str:
    return f"document.getElementById('commands')?.textContent === {text!r}"


def type_image(browser: Chromium, name: str) -> None:
    browser.evaluate("document.getElementById('image').select()")
    browser.write(name)


def test_the_commands_follow_what_is_typed(browser: Chromium, serve: Serve) -> None:
    host = f"127.0.0.1:{serve(MIRROR)}"
    browser.open(f"http://{host}/")
    assert browser.evaluate(shows(commands(host, "ubuntu:latest")))
    assert browser.evaluate("document.querySelector('form button').hidden")
    type_image(browser, "quay.io/acme/app:1")
    browser.wait(shows(commands(host, "quay.io/acme/app:1")))
    browser.click("input[value=nerdctl]")
    browser.wait("document.getElementById('commands').textContent.startsWith('nerdctl ')")
    assert browser.evaluate("location.search") == "?image=quay.io%2Facme%2Fapp%3A1&client=nerdctl"
    assert browser.said == []


def test_what_is_wrong_with_a_name_is_said(browser: Chromium, serve: Serve) -> None:
    browser.open(f"http://127.0.0.1:{serve(MIRROR)}/")
    type_image(browser, "<img src=x onerror=alert(1)>")
    problem = "document.getElementById('problem').textContent"
    browser.wait(f"{problem}.includes('<img src=x')")
    assert browser.evaluate("document.images.length") == 0
    assert browser.evaluate(shows("")), "nothing to copy"
    type_image(browser, "alpine:3")
    browser.wait(f"{problem} === ''")


@pytest.mark.parametrize("name", ["127.0.0.1", NAMED], ids=["secure context", "plain HTTP"])
def test_the_copy_buttons_copy(browser: Chromium, serve: Serve, name: str) -> None:
    """UX-03"""
    port = serve(MIRROR)
    host = f"{name}:{port}"
    browser.open(f"http://{host}/")
    assert browser.evaluate("window.isSecureContext") is (name == "127.0.0.1")
    browser.click("button[data-copies=commands]")
    browser.wait("document.querySelector('button[data-copies=commands]').textContent == 'Copied'")
    assert browser.evaluate("document.getElementById('said').textContent")
    # Only a secure context may read the clipboard again.
    browser.open(f"http://127.0.0.1:{port}/")
    assert browser.evaluate("navigator.clipboard.readText()") == commands(host, "ubuntu:latest")
    assert browser.said == []


def test_keys_are_enough(browser: Chromium, serve: Serve) -> None:
    host = f"127.0.0.1:{serve(MIRROR)}"
    browser.open(f"http://{host}/")
    browser.evaluate("document.querySelector('button[data-copies=dockerd-0]').focus()")
    browser.press("Enter", 13, "\r")
    browser.wait("document.querySelector('button[data-copies=dockerd-0]').textContent == 'Copied'")
    assert "registry-mirrors" in browser.evaluate("navigator.clipboard.readText()")
    assert browser.evaluate("document.activeElement.dataset.copies") == "dockerd-0"
    type_image(browser, "alpine:3")
    browser.press("Enter", 13, "\r")
    browser.wait(shows(commands(host, "alpine:3")))


def test_the_page_works_without_javascript(browser: Chromium, serve: Serve) -> None:
    host = f"127.0.0.1:{serve(MIRROR)}"
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(f"http://{host}/")
    assert browser.evaluate("document.querySelector('button[data-copies]').hidden")
    type_image(browser, "alpine:3")
    browser.press("Enter", 13, "\r")
    browser.wait(shows(commands(host, "alpine:3")))


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("subject", [MIRROR, REDIRECTING], ids=["mirror", "redirecting"])
def test_nothing_is_wider_than_the_screen(
    browser: Chromium, serve: Serve, subject: Subject, width: int
) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
    )  # fmt: skip
    browser.open(f"http://127.0.0.1:{serve(subject)}/")
    browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    covered = """[...document.querySelectorAll('.text')].filter((one) => {
        const text = document.createRange();
        text.selectNodeContents(one.querySelector('pre'));
        const button = one.querySelector('button').getBoundingClientRect();
        const box = text.getBoundingClientRect();
        return box.bottom > button.top && box.right > button.left && box.top < button.bottom;
    }).length"""
    assert browser.evaluate(covered) == 0, "a button covers text"
