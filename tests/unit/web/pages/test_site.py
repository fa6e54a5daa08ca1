"""The pages: what they say, to whom in which form, and that nothing of theirs runs but their own
script (UX-03, RD-04)."""

import base64
import hashlib
import re
from html import escape, unescape
from html.parser import HTMLParser
from typing import Final
from urllib.parse import quote

import pytest

from entrepot.oci.errors import NameInvalid
from entrepot.services.client_configuration import configurations
from entrepot.web.address import address_of
from entrepot.web.message import Response
from entrepot.web.pages.mirror import Mirror
from entrepot.web.pages.redirecting import Redirecting
from entrepot.web.pages.site import Site, Subject
from tests.unit.web.requests import document, header, request, text

BROWSER: Final = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
MIRROR: Final = Mirror(("docker.io", "quay.io"), "docker.io")
REDIRECTING: Final = Redirecting("https://us-docker.pkg.dev/v2/project/images/", "all is well")
THREE_LINES: Final = (
    "docker pull registry.example:5000/ubuntu:latest && \\\n"
    "docker tag registry.example:5000/ubuntu:latest ubuntu:latest && \\\n"
    "docker rmi registry.example:5000/ubuntu:latest"
)


def get(target: str, subject: Subject = MIRROR, headers: dict[str, str] | None = None) -> Response:
    site = Site(lambda: subject, lambda asked: address_of(asked, "", ()))
    response = site.answer(request(target, headers=headers))
    assert response is not None
    return response


def page(target: str = "/", subject: Subject = MIRROR) -> str:
    response = get(target, subject, BROWSER)
    assert (response.status, header(response, "content-type")) == (200, "text/html; charset=utf-8")
    return text(response)


def shown(html: str, name: str = "commands") -> str:
    """Return the text of the element that a copy button copies."""
    found = re.search(rf'<pre id="{name}"[^>]*>(.*?)</pre>', html, re.DOTALL)
    assert found, f"nothing is called {name}"
    return unescape(found[1])


def test_a_browser_is_shown_the_missions_three_lines() -> None:
    """UX-03: also without JavaScript."""
    assert shown(page()) == THREE_LINES


def test_the_form_works_without_a_script() -> None:
    html = page("/?image=quay.io%2Facme%2Fapp%3A1&client=podman")
    assert shown(html).startswith(
        "podman pull --tls-verify=false registry.example:5000/quay.io/acme/app:1 && \\\n"
    )
    assert 'value="quay.io/acme/app:1"' in html
    assert 'value="podman" checked' in html


def test_a_terminal_is_shown_text() -> None:
    response = get("/", headers={"accept": "*/*"})
    assert header(response, "content-type") == "text/plain; charset=utf-8"
    assert header(response, "vary") == "Accept"
    assert THREE_LINES in text(response)
    assert "http://registry.example:5000/_/config/containerd" in text(response)


def test_the_script_is_answered_what_the_page_shows() -> None:
    asked = "image=ubuntu&client=docker"
    assert text(get(f"/_/commands?{asked}")) == f"{THREE_LINES}\n"
    wrong = get("/_/commands?image=UPPER")
    assert wrong.status == 400
    assert "is not a repository name" in text(wrong)


@pytest.mark.parametrize(
    ("mirror", "pulled"),
    [
        (Mirror(("quay.io", "docker.io")), "docker.io/library/ubuntu:latest"),
        (Mirror(anything=True), "docker.io/library/ubuntu:latest"),
        (Mirror(("quay.io", "ghcr.io")), "quay.io/prometheus/busybox:latest"),
        (Mirror(("ghcr.io",), anything=True), "ghcr.io/team/app:1.0"),
        (Mirror(("ghcr.io",), "ghcr.io"), "ghcr.io/team/app:1.0"),
        (Mirror(("corp",)), "corp/team/app:1.0"),
        (Mirror(("r.lan:5000",), known=("r.lan:5000", "r.lan")), "r.lan/team/app:1.0"),
    ],
    ids=["Docker Hub", "any", "first", "first of any", "default", "a word", "an alias"],
)
def test_the_example_is_one_that_the_server_has(mirror: Mirror, pulled: str) -> None:
    """UX-03: the commands are run as they stand."""
    line = f"docker pull registry.example:5000/{pulled}"
    assert shown(page(subject=mirror)).startswith(line)
    assert line in text(get("/", mirror))


@pytest.mark.parametrize(
    ("image", "named"), [("alpine", "docker.io"), ("acme/app:1", "docker.io"), ("a.x/b", "a.x")]
)
def test_what_would_be_refused_is_told_how_to_allow(image: str, named: str) -> None:
    answer = get(f"/_/commands?image={image}", Mirror(("quay.io",)))
    assert answer.status == 400
    assert f"entrepot upstream add {named}" in text(answer)
    assert "an image of quay.io" in text(answer)
    assert "docker pull" not in text(answer)
    allowed = Mirror(("quay.io",), known=("quay.io", named))
    assert get(f"/_/commands?image={image}", allowed).status == 200
    assert get(f"/_/commands?image={image}", Mirror(("quay.io",), anything=True)).status == 200


def test_upstreams_that_no_name_begins_with_have_no_example() -> None:
    assert "entrepot upstream add docker.io" in text(get("/", Mirror(("r.lan:5000",))))


def test_the_configurations_on_the_page_are_those_that_are_served() -> None:
    html = page()
    for one in configurations("http://registry.example:5000", MIRROR.upstreams, "docker.io"):
        for number, (path, content) in enumerate(one.files.items()):
            assert shown(html, f"{one.client}-{number}") == content.rstrip("\n")
            assert escape(path) in html
        assert text(get(f"/_/config/{one.client}")) == one.text


@pytest.mark.parametrize("client", ["containerd", "k3s", "podman", "buildkit", "kaniko"])
def test_a_client_that_cannot_be_configured_is_told_why(client: str) -> None:
    subject = Mirror(("corp",))
    assert text(get(f"/_/config/{client}", subject)).startswith("# this client takes")
    assert "which none of corp is" in page(subject=subject)


def test_configuration_comes_as_json_too() -> None:
    everything = document(get("/_/config"))
    assert [*everything] == ["dockerd", "containerd", "k3s", "podman", "buildkit", "kaniko"]
    one = document(get("/_/config/podman", headers={"accept": "application/json"}))
    assert one == everything["podman"]


def test_one_file_of_several_can_be_had() -> None:
    assert text(get("/_/config/containerd?registry=quay.io")).startswith(
        'server = "https://quay.io"'
    )
    assert get("/_/config/containerd?registry=ghcr.io").status == 404
    assert get("/_/config/emacs").status == 404


def test_a_page_that_is_none_is_left_to_others() -> None:
    site = Site(lambda: REDIRECTING, lambda asked: address_of(asked, "", ()))
    for target in ("/_/config", "/_/config/podman", "/other", "/_/stats", "//"):
        assert site.answer(request(target)) is None


@pytest.mark.parametrize(
    ("mirror", "said"),
    [
        (MIRROR, "Images of docker.io, quay.io are"),
        (Mirror(("quay.io",), anything=True), "quay.io and any other registry"),
        (Mirror(anything=True), "any registry"),
        (Mirror((), "docker.io"), "Images of docker.io are"),
        (Mirror(), "A registry."),
    ],
    ids=["some", "some and any", "any", "default", "none"],
)
def test_it_says_what_the_server_does(mirror: Mirror, said: str) -> None:
    assert said in page(subject=mirror)
    assert said in text(get("/", mirror))


def test_a_registry_without_mirrors_offers_no_mirroring() -> None:
    html = page(subject=Mirror())
    assert shown(html) == "docker pull registry.example:5000/team/app:1.0"
    assert "<details" not in html


def test_a_login_is_told_of() -> None:
    assert "docker login registry.example:5000" in page(subject=Mirror(("quay.io",), login=True))
    assert "Docker alone sends" in page(subject=Mirror(("quay.io",), login=True))
    assert "login" not in page()


def test_a_redirecting_server_says_where_it_leads() -> None:
    """RD-04: what it is, upstream, a working pull line, status."""
    html = page(subject=REDIRECTING)
    assert shown(html) == "docker pull registry.example:5000/app:latest"
    for said in (
        "https://us-docker.pkg.dev/v2/project/images/",
        "us-docker.pkg.dev/project/images/app:latest",
        "all is well",
        "a name for images, not a place",
    ):
        assert said in html
    plain = text(get("/", REDIRECTING))
    assert "docker pull registry.example:5000/app:latest" in plain
    assert "all is well" in plain
    asked = page("/?image=oci-proxy:1.0.0", REDIRECTING)
    assert shown(asked) == "docker pull registry.example:5000/oci-proxy:1.0.0"


HOSTILE: Final = ['"><script>alert(1)</script>', "</pre><img src=x onerror=1>", "&lt;", "'\"\0"]


class Elements(HTMLParser):
    """Counts elements, and gathers what would be fetched or run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.outside: list[str] = []
        self.ids: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name.startswith("on") or name == "style":
                self.outside.append(f"{name}={value}")
            if name in ("src", "href", "action") and not (value or "").startswith(("/", "data:,")):
                self.outside.append(f"{name}={value}")


@pytest.mark.parametrize("subject", [MIRROR, REDIRECTING], ids=["mirror", "redirecting"])
@pytest.mark.parametrize("image", HOSTILE)
def test_what_a_visitor_types_stays_text(subject: Subject, image: str) -> None:
    html = page(f"/?image={quote(image)}&client={quote(image)}", subject)
    assert Elements(html).names == Elements(page("/?image=UPPER", subject)).names
    assert shown(html) == "", "nothing to copy for what is no name"
    assert 'role="alert"></p>' not in html, "what is wrong is said"


@pytest.mark.parametrize("subject", [MIRROR, REDIRECTING], ids=["mirror", "redirecting"])
def test_a_page_is_whole_by_itself(subject: Subject) -> None:
    elements = Elements(page(subject=subject))
    assert elements.outside == []
    assert len(set(elements.ids)) == len(elements.ids)
    assert elements.names.count("script") == elements.names.count("style") == 1


def test_only_the_pages_own_style_and_script_are_allowed() -> None:
    response = get("/", headers=BROWSER)
    policy = header(response, "content-security-policy") or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for element in ("style", "script"):
        found = re.search(rf"<{element}>(.*?)</{element}>", text(response), re.DOTALL)
        assert found
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert header(response, "referrer-policy") == "no-referrer"


@pytest.mark.parametrize("target", ["/", "/_/commands", "/_/config", "/_/config/podman"])
def test_a_malformed_host_gets_no_page(target: str) -> None:
    with pytest.raises(NameInvalid):
        get(target, headers={"host": "x<script>"})


def test_every_field_has_a_label() -> None:
    html = page()
    labelled = re.findall(r'<label for="([^"]+)">', html)
    assert labelled == re.findall(r'<input type="text" id="([^"]+)"', html)
    assert html.count('type="radio"') == html.count('<label><input type="radio"') == 3
    buttons = re.findall(r"<button type=\"button\"[^>]*>", html)
    assert buttons
    assert all('aria-label="Copy ' in button for button in buttons)
