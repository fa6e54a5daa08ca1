"""What a registry may answer, and a file may hold: nothing of it makes the readers stumble, and
nothing gets a login to where it does not belong."""

import contextlib
import json
import string
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from entrepot.adapters.credentials.files import CredentialFile
from entrepot.adapters.credentials.keys import candidates, plain_key
from entrepot.adapters.remotes.exchange_log import shown_text, shown_url
from entrepot.adapters.remotes.redirects import target
from entrepot.adapters.remotes.refusals import told
from entrepot.oci.errors import Denied, Unauthorized
from entrepot.ports.credential_store import Credentials
from entrepot.protocol.rate_limits import parse_rate_limit, parse_retry_after
from entrepot.rules.realms import may_lead_to, may_send_login, origin
from entrepot.rules.retries import RetryPolicy, next_delay

_URL_PIECES = st.sampled_from(
    ["http", "https", "://", ":", "/", "//", "@", "?", "#", "[", "]", "..", "a.example", "::1",
     "127.0.0.1", "localhost", "169.254.169.254", "5000", "99999", "%2e", "\\", " ", "\t", "é"]
)  # fmt: skip
_URLS = st.one_of(st.text(max_size=40), st.lists(_URL_PIECES, max_size=9).map("".join))
_LABELS = st.text(string.ascii_lowercase, min_size=1, max_size=5)
_HOSTS = st.lists(_LABELS, min_size=1, max_size=4).map(".".join)
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["errors", "code", "message", "detail", "error", "auths", "auth",
                             "h", "h/a", "credHelpers", "credsStore", "identitytoken"]),
            inner, max_size=3,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@given(_URLS, _URLS)
@example("https://a.example", "https://[::1%eth0]/x")
def test_no_url_is_too_odd_to_be_judged(start: str, url: str) -> None:
    may_lead_to(start, url)
    may_send_login(start, url)


@given(_URLS)
@example("http://a.example:0x1f")
@example("\\\\evil.example")
def test_a_location_leads_to_http_or_nowhere(location: str) -> None:
    with contextlib.suppress(Denied):
        url = target("https://a.example/v2/x", location)
        scheme, host, _ = origin(url)
        assert scheme == "https"
        assert host
        assert "@" not in url.partition("//")[2].partition("/")[0]
        assert may_lead_to("https://a.example/v2/x", url)


@given(_HOSTS, _HOSTS)
def test_a_login_stays_in_the_family(registry: str, realm: str) -> None:
    if may_send_login(f"https://{registry}", f"https://{realm}/token"):
        ours, theirs = registry.split("."), realm.split(".")
        assert registry == realm or ours[-2:] == theirs[-2:]
    assert may_send_login(f"https://{registry}", f"https://{registry}:8443/token")
    assert not may_send_login(f"https://{registry}", f"http://{registry}/token")


@given(st.one_of(st.binary(max_size=200), _JSON.map(lambda one: json.dumps(one).encode())))
@example(b"[" * 100_000)
@example(b'{"errors": [{"code": "\\ud800", "message": "\\ud800"}]}')
def test_any_error_body_is_read(body: bytes) -> None:
    said = told(body)
    assert str(said).isprintable()
    assert len(said.message) <= 301


@given(st.text(max_size=60))
@example("https://[")
def test_any_text_is_shown_without_accounts(text: str) -> None:
    shown_url(text)
    shown_text(text)
    assert "s3cret" not in shown_url(f"https://u:s3cret@h/x?{text}")
    assert "s3cret" not in shown_text(f"https://h/x?sig=s3cret&y={text}")


@given(st.text(max_size=40), st.floats(0, 2e9))
def test_any_field_about_limits_is_read(text: str, now: float) -> None:
    names = ("ratelimit-limit", "ratelimit-remaining", "ratelimit", "ratelimit-policy")
    parse_rate_limit(dict.fromkeys(names, text))
    pause = parse_retry_after(text, now)
    assert pause is None or pause >= 0


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True), st.floats(0, 1e6) | st.none())
def test_waits_are_bounded_and_end(failures: int, random: float, asked: float | None) -> None:
    policy = RetryPolicy()
    delay = next_delay(policy, failures, random, asked)
    assert (delay is None) == (
        failures > policy.retries or (asked is not None and asked > policy.patience)
    )
    if delay is not None:
        assert (asked or 0.0) <= delay <= max(policy.most, policy.patience + policy.first)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_key_means_the_same_however_often_it_is_read(key: str, repository: str) -> None:
    plain = plain_key(key)
    names = candidates(key, repository)
    assert names[-1] == plain
    assert list(names) == sorted(names, key=len, reverse=True)


@given(_JSON)
def test_any_credential_file_is_read_or_refused(document: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "auth.json"
        path.write_text(json.dumps(document))
        file = CredentialFile(path, {"PATH": folder}, docker=False)
        with contextlib.suppress(Unauthorized):
            file.find("h", "a/b")
        with contextlib.suppress(Unauthorized):
            file.save("h", Credentials("ann", "x"))
            assert file.find("h", "") == Credentials("ann", "x")
            assert file.erase("h")
