"""Whatever a registry does wrong: the program repeats what may pass and gets through, or says in
one line what is wrong, and leaves nothing that looks whole. Once the registry is well, the same
command gets through."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from entrepot.testing import (
    AcceptThenFail,
    BadJson,
    Challenge,
    Delay,
    DoThenDrop,
    DropConnection,
    Endless,
    Headers,
    HtmlError,
    Instead,
    LoseUpload,
    MockImage,
    MockRegistry,
    NoDigestHeader,
    NoLength,
    NoRange,
    RateLimited,
    RedirectLoop,
    RedirectTo,
    Refuse100,
    Reset,
    ServerError,
    Slow,
    Stall,
    Status,
    Truncate,
    UploadOffsetLies,
    WrongContentType,
    WrongDigest,
    WrongDigestHeader,
    WrongLength,
    WrongRange,
)
from entrepot.testing.mock_exchange import What
from tests.integration.cli.program import Done, Program
from tests.integration.failure.lanes import sampled
from tests.integration.failure.quick_program import QuickProgram

MANIFEST = "/v2/*/manifests/*"
BLOB = "/v2/*/blobs/sha256:*"
UPLOAD = "/v2/*/blobs/uploads/*"
DEAD = "http://127.0.0.1:1/nobody"


@dataclass(frozen=True)
class Case:
    """A fault, which requests it takes (`method` and `path`), how often (None: always), and the
    exit code; with 0, `repeats` says whether a request must have been sent again for that."""

    what: tuple[What, ...]
    method: str
    path: str
    times: int | None
    code: int = 0
    repeats: bool = True

    def __str__(self) -> str:
        what = "+".join(type(one).__name__ + str(getattr(one, "code", "")) for one in self.what)
        noun = {MANIFEST: "manifest", BLOB: "blob", UPLOAD: "upload"}[self.path]
        return f"{what} {self.method} {noun} {self.times or 'always'} -> {self.code}"


def passing(path: str, *what: What, method: str = "GET", times: int = 1) -> Case:
    """A fault that passes, so that the program gets through by repeating a request."""
    return Case(what, method, path, times)


def harmless(path: str, *what: What, method: str = "GET") -> Case:
    """A fault that lasts and takes nothing but time."""
    return Case(what, method, path, None, repeats=False)


def fatal(code: int, path: str, *what: What, method: str = "*", times: int | None = None) -> Case:
    """A fault that nothing helps against."""
    return Case(what, method, path, times, code)


TRANSIENT = [*map(ServerError, (500, 502, 503, 504)), Status(408), HtmlError(502)]
TRANSIENT += [RateLimited(0), RateLimited(), DropConnection(), DropConnection(reset=True)]

PULLS = [
    *(passing(path, what, method="*", times=3) for path in (BLOB, MANIFEST) for what in TRANSIENT),
    passing(BLOB, Truncate(100)),
    passing(BLOB, Reset(100_000), times=3),
    passing(BLOB, Truncate(200_000), NoLength(), times=3),
    passing(BLOB, Truncate(100_000), NoRange(), times=3),
    passing(BLOB, Truncate(100_000), WrongRange(5, honest=True), times=3),
    passing(BLOB, Stall(at="head")),
    passing(BLOB, Stall(100_000), times=3),
    passing(MANIFEST, Stall(100)),
    passing(MANIFEST, Truncate(100)),
    harmless(BLOB, Slow(2_000_000)),
    harmless(BLOB, Delay(0.05)),
    harmless(BLOB, NoLength()),
    harmless(BLOB, NoRange()),
    harmless(BLOB, NoDigestHeader()),
    harmless(BLOB, WrongContentType()),
    harmless(MANIFEST, NoLength()),
    harmless(MANIFEST, NoDigestHeader(), method="*"),
    harmless(MANIFEST, WrongContentType(None), method="*"),
    harmless(MANIFEST, Status(405), method="HEAD"),
    *(fatal(1, path, what) for path in (BLOB, MANIFEST) for what in TRANSIENT),
    *(fatal(1, path, Status(400)) for path in (BLOB, MANIFEST)),
    *(fatal(3, path, Status(status)) for path in (BLOB, MANIFEST) for status in (401, 403)),
    *(fatal(2, path, Status(404)) for path in (BLOB, MANIFEST)),
    *(fatal(1, path, RedirectLoop()) for path in (BLOB, MANIFEST)),
    *(fatal(1, path, RedirectTo(DEAD)) for path in (BLOB, MANIFEST)),
    fatal(3, BLOB, RedirectTo("ftp://127.0.0.1/x")),
    fatal(3, BLOB, Challenge()),
    fatal(3, BLOB, Challenge("Bearer")),
    fatal(3, BLOB, Challenge('Bearer realm="::::"')),
    fatal(3, BLOB, Challenge('Digest realm="x"')),
    fatal(1, BLOB, Stall(at="head")),
    fatal(4, BLOB, Status(416)),
    fatal(4, BLOB, WrongDigest()),
    fatal(4, BLOB, WrongDigest(250_000)),
    fatal(4, BLOB, WrongLength(10)),
    fatal(4, BLOB, WrongLength(-10)),
    fatal(4, BLOB, Instead(b"x")),
    fatal(4, BLOB, HtmlError(200)),
    fatal(4, BLOB, Endless()),
    fatal(1, BLOB, Truncate(100_000), WrongRange(7)),
    fatal(4, MANIFEST, WrongDigest()),
    fatal(4, MANIFEST, BadJson()),
    fatal(1, MANIFEST, HtmlError(200)),
    fatal(2, MANIFEST, WrongDigestHeader()),
    fatal(1, MANIFEST, Endless()),
]

PUSHES = [
    *(passing(UPLOAD, what, method=one) for one in ("POST", "PATCH", "PUT") for what in TRANSIENT),
    *(passing(MANIFEST, what, method="PUT") for what in TRANSIENT),
    *(passing(BLOB, what, method="HEAD") for what in TRANSIENT),
    passing(UPLOAD, DoThenDrop(), method="POST"),
    passing(UPLOAD, DoThenDrop(reset=True), method="PATCH"),
    passing(UPLOAD, AcceptThenFail(1_000_000), method="PATCH", times=3),
    passing(UPLOAD, AcceptThenFail(1_000_000, status=503), method="PATCH"),
    passing(UPLOAD, AcceptThenFail(1_000_000, status=500, keep=False), method="PATCH"),
    passing(UPLOAD, LoseUpload(), method="PATCH"),
    passing(UPLOAD, LoseUpload(), method="PUT"),
    passing(UPLOAD, Stall(at="head"), method="PATCH"),
    passing(UPLOAD, Stall(1_000_000, at="upload"), method="PATCH"),
    passing(UPLOAD, Status(409), method="PATCH"),
    passing(UPLOAD, Status(413), method="PATCH"),
    passing(UPLOAD, UploadOffsetLies(-1000), method="PATCH"),
    Case((DoThenDrop(),), "PUT", MANIFEST, 1),
    harmless(UPLOAD, Refuse100(), method="PUT"),
    harmless(UPLOAD, NoLength(), method="*"),
    *(fatal(1, UPLOAD, what, method=one) for one in ("POST", "PATCH") for what in TRANSIENT[::3]),
    *(fatal(1, MANIFEST, what, method="PUT") for what in TRANSIENT[::3]),
    *(fatal(3, UPLOAD, Status(one), method="POST") for one in (401, 403)),
    *(fatal(3, UPLOAD, Status(one), method="PATCH") for one in (401, 403)),
    *(fatal(3, MANIFEST, Status(one), method="PUT") for one in (401, 403)),
    fatal(2, UPLOAD, Status(404), method="POST"),
    fatal(1, UPLOAD, Status(404), method="PATCH"),
    fatal(1, UPLOAD, Status(400), method="PUT"),
    fatal(1, UPLOAD, Status(413), method="PATCH"),
    fatal(1, UPLOAD, Headers({"Location": None}), method="POST"),
    fatal(3, UPLOAD, Headers({"Location": "ftp://127.0.0.1/x"}), method="POST"),
    fatal(1, UPLOAD, Headers({"Location": DEAD}), method="POST"),
    fatal(1, MANIFEST, Status(405), method="PUT"),
    fatal(4, UPLOAD, WrongDigestHeader(), method="PUT"),
]


@pytest.fixture
def quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> QuickProgram:
    return QuickProgram(tmp_path, monkeypatch, capsys)


@pytest.fixture
def image(mock: MockRegistry) -> MockImage:
    return mock.add_image("tests/one", "1.0", layers=2, layer_size=300_000)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MockImage]:
    """The layout of an image whose layer is above what goes into one request, and the image."""
    folder = tmp_path_factory.mktemp("large")
    with MockRegistry() as registry:
        image = registry.add_image("tests/large", "1.0", layers=1, layer_size=5_000_000)
        Program(folder)("pull", "-q", image.reference, "oci:image:1.0")
    return folder / "image", image


def assert_one_error(done: Done, code: int) -> None:
    assert done.code == code, done.err
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("error: ")
    assert "unexpected" not in line
    what_next = line.rpartition("; ")[2] if "; " in line else ""
    assert what_next, f"it does not say what to do: {line}"


def assert_layout(folder: Path, image: MockImage | None) -> None:
    """No blob is wrong, nothing is named but the image, and then nothing is left over."""
    for file in (folder / "blobs" / "sha256").glob("[0-9a-f]*"):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name
    index = folder / "index.json"
    listed = json.loads(index.read_bytes())["manifests"] if index.exists() else []
    assert [one["digest"] for one in listed] == ([str(image.digest)] if image else [])
    if image is not None:
        names = {file.name for file in (folder / "blobs" / "sha256").iterdir()}
        assert names == {one.digest.hex for one in (image.descriptor, *image.blobs)}


def repeated(mock: MockRegistry) -> bool:
    """Say whether any request was sent twice."""
    asked = [(one.method, one.path) for one in mock.requests]
    return len(asked) > len(set(asked))


@pytest.mark.parametrize("case", sampled(PULLS, 12), ids=str)
def test_pull(quick: QuickProgram, mock: MockRegistry, image: MockImage, case: Case) -> None:
    fault = mock.fault(*case.what, method=case.method, path=case.path, times=case.times)
    words = ("pull", "-q", image.reference, "oci:out:1.0")
    done = quick(*words)
    assert fault.applied
    if case.code == 0:
        assert (done.code, done.err) == (0, "")
        assert repeated(mock) or not case.repeats
    else:
        assert_one_error(done, case.code)
        assert_layout(quick.folder / "out", None)
        mock.heal()
        assert quick(*words).code == 0
    assert_layout(quick.folder / "out", image)


@pytest.mark.parametrize("case", sampled(PUSHES, 12), ids=str)
def test_push(
    quick: QuickProgram, mock: MockRegistry, large: tuple[Path, MockImage], case: Case
) -> None:
    layout, image = large
    fault = mock.fault(*case.what, method=case.method, path=case.path, times=case.times)
    words = ("push", "-q", f"oci:{layout}:1.0", f"{mock.host}/tests/two:1.0")
    done = quick(*words)
    assert fault.applied
    if case.code == 0:
        assert (done.code, done.err) == (0, "")
        assert not case.repeats or mock.count() > MANNERLY
    else:
        assert_one_error(done, case.code)
        assert mock.manifest("tests/two", "1.0") is None
        mock.heal()
        assert quick(*words).code == 0
    assert mock.manifest("tests/two", "1.0") == image.manifest
    assert {one.digest for one in image.blobs} <= set(mock.blobs)
    assert not list((quick.folder / ".cache" / "entrepot" / "uploads").glob("*"))


MANNERLY = 10
"""How many requests a push takes at most when nothing goes wrong."""


def test_a_push_without_faults_takes_few_requests(
    quick: QuickProgram, mock: MockRegistry, large: tuple[Path, MockImage]
) -> None:
    quick("push", "-q", f"oci:{large[0]}:1.0", f"{mock.host}/tests/two:1.0")
    assert mock.count() <= MANNERLY
    assert not repeated(mock) or mock.count("POST") == 2


REAL: list[Any] = [
    pytest.param(BLOB, ServerError(503), 2, 0, id="passes"),
    pytest.param(BLOB, Truncate(5000), 1, 0, id="breaks off once"),
    pytest.param(BLOB, Status(403), None, 3, id="refused"),
    pytest.param(BLOB, WrongDigest(), None, 4, id="damaged"),
    pytest.param(MANIFEST, Status(404), None, 2, id="missing"),
]


@pytest.mark.parametrize(("path", "what", "times", "code"), REAL)
def test_as_a_process(
    entrepot: Program,
    mock: MockRegistry,
    image: MockImage,
    path: str,
    what: What,
    times: int | None,
    code: int,
) -> None:
    mock.fault(what, path=path, times=times)
    done = entrepot("pull", "-q", image.reference, "oci:out:1.0", expect=code)
    if code:
        assert_one_error(done, code)
    assert_layout(entrepot.folder / "out", None if code else image)


def test_retry_after_is_respected(entrepot: Program, mock: MockRegistry, image: MockImage) -> None:
    mock.fault(RateLimited(1), method="GET", path=MANIFEST)
    entrepot("pull", "-q", image.reference)
    refused, again = mock.matching("GET", image.path)[:2] or mock.matching("GET", MANIFEST)[:2]
    assert refused.status == 429
    assert 1.0 <= again.started - refused.started < 3.0
    assert not [one for one in mock.requests if refused.started < one.started < again.started]


def test_a_budget_of_hours_is_not_waited_for(
    entrepot: Program, mock: MockRegistry, image: MockImage
) -> None:
    mock.fault(RateLimited(7200), path=MANIFEST, times=None)
    done = entrepot("pull", "-q", image.reference, expect=1)
    assert_one_error(done, 1)
    assert "7200 s" in done.err
    assert mock.count(path=MANIFEST) == 1


TOKEN_FAULTS = [
    *(Case((what,), "*", MANIFEST, 2) for what in (ServerError(500), DropConnection())),
    Case((RateLimited(0),), "*", MANIFEST, 1),
    *(Case((Status(one),), "*", MANIFEST, None, 3) for one in (401, 403)),
    Case((ServerError(503),), "*", MANIFEST, None, 1),
    Case((RateLimited(0),), "*", MANIFEST, None, 1),
    Case((DropConnection(),), "*", MANIFEST, None, 1),
    Case((BadJson(),), "*", MANIFEST, None, 1),
    Case((HtmlError(200),), "*", MANIFEST, None, 1),
    Case((Instead(b"{}"),), "*", MANIFEST, None, 1),
    Case((RedirectLoop(),), "*", MANIFEST, None, 1),
    Case((Stall(at="head"),), "*", MANIFEST, None, 1),
]


@pytest.mark.parametrize("case", sampled(TOKEN_FAULTS, 5), ids=str)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_token_servers(
    quick: QuickProgram, mock: MockRegistry, image: MockImage, case: Case, elsewhere: bool
) -> None:
    tokens = mock.require_token("plain", elsewhere=elsewhere)
    fault = tokens.fault(*case.what, times=case.times)
    done = quick("pull", "-q", image.reference, "oci:out:1.0")
    assert fault.applied
    if case.code:
        assert_one_error(done, case.code)
        mock.heal()
        fault.remove()
        assert quick("pull", "-q", image.reference, "oci:out:1.0").code == 0
    else:
        assert (done.code, done.err) == (0, "")
        assert len(tokens.requests) > 1
    assert_layout(quick.folder / "out", image)
