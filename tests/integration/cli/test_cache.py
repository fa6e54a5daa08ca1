"""`entrepot cache` (UX-05): warm, ls, stats, purge, pin, unpin, verify, as text and as JSON, beside
a running server and without one."""

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from entrepot.testing import MockRegistry, ServerError
from entrepot.testing.mock_images import MockImage
from tests.integration.cli.program import Done, Program
from tests.integration.mirror.cache_directory import CacheDirectory
from tests.mirrors import UPSTREAM, RunningMirror, upstream_table
from tests.server import RunningServer
from tests.waiting import wait_until

APP = f"{UPSTREAM}/team/app"


class Cache:
    """`entrepot cache` with a configuration, and the directory that it is about."""

    def __init__(self, program: Program, config: Path, data: Path) -> None:
        self.program = program
        self.options = ("--config", config, "--data", data)
        self.directory = CacheDirectory(data / "cache")

    def __call__(self, *words: object, input: str = "", expect: int = 0) -> Done:
        return self.program("cache", *words, *self.options, input=input, expect=expect)

    def rows(self, *words: object) -> list[dict[str, Any]]:
        """Return the JSON lines that are printed."""
        return [json.loads(line) for line in self(*words, "--json").lines]


@pytest.fixture
def cache(entrepot: Program, registry: MockRegistry, tmp_path: Path) -> Cache:
    """The command, with the registry as its one upstream."""
    config = tmp_path / "entrepot.toml"
    config.write_text(
        f'[cache]\nfreshness = "ttl"\n{upstream_table(registry)}max_size = "1g"\n'
        f'[proxy]\ndefault_registry = "{UPSTREAM}"\n'
    )
    return Cache(entrepot, config, tmp_path / "data")


@pytest.fixture
def app(registry: MockRegistry) -> MockImage:
    return registry.add_index("team/app", "1")


@pytest.fixture
def mirror(cache: Cache, registry: MockRegistry, tmp_path: Path) -> Iterator[RunningMirror]:
    """A server of the same data directory."""
    mirror = RunningMirror(tmp_path / "server", registry, cache={"freshness": '"ttl"'})
    cache.options = ("--config", mirror.folder / "entrepot.toml", "--data", mirror.data)
    cache.directory = CacheDirectory(mirror.data / "cache")
    yield mirror
    assert mirror.stop() == 0


def digests(image: MockImage) -> set[str]:
    """Return all that an index leads to."""
    blobs = [blob.digest for child in image.children for blob in child.blobs]
    manifests = [image.digest, *(child.digest for child in image.children)]
    return {str(digest) for digest in (*manifests, *blobs)}


# No cache at all.


@pytest.mark.parametrize("command", ["ls", "stats", "verify"])
def test_without_a_cache_there_is_nothing_to_look_at(cache: Cache, command: str) -> None:
    done = cache(command)
    assert "there is no cache yet at" in done.err
    assert not cache.directory.path.exists()


@pytest.mark.parametrize("words", [("purge", APP), ("pin", APP), ("unpin", APP)], ids=str)
def test_without_a_cache_nothing_can_be_changed(cache: Cache, words: tuple[str, str]) -> None:
    assert "entrepot cache warm" in cache(*words, expect=2).err
    assert not cache.directory.path.exists()


def test_without_upstreams_a_name_says_no_registry(entrepot: Program, tmp_path: Path) -> None:
    done = entrepot("cache", "warm", "alpine", "--data", tmp_path / "none", expect=64)
    assert "docker.io/alpine" in done.err


# Warm.


def test_warm_brings_an_image(cache: Cache, app: MockImage) -> None:
    done = cache("warm", f"{APP}:1")
    assert done.lines[0].startswith(f"{APP}:1: blobs: {len(digests(app)) - 3} fetched (")
    assert done.lines[1:] == [str(app.digest)]
    assert cache.directory.stored() == digests(app)
    assert {event["event"] for event in done.events} == {"started", "finished", "manifest"}
    assert cache("warm", "team/app:1", "-q").lines == [str(app.digest)]


def test_warm_as_json(cache: Cache, app: MockImage) -> None:
    (first,) = cache.rows("warm", "team/app:1", "--pin")
    blobs = [blob for child in app.children for blob in child.blobs]
    size = sum(blob.size for blob in blobs)
    assert first == {
        "image": f"{APP}:1",
        "repository": APP,
        "digest": str(app.digest),
        "media_type": app.descriptor.media_type,
        "manifests": 3,
        "fetched": len(blobs),
        "fetched_bytes": size,
        "present": 0,
        "total_bytes": size,
        "pinned": True,
    }
    (second,) = cache.rows("warm", "team/app:1")
    assert (second["fetched"], second["present"]) == (0, len(blobs))
    assert all(row["pinned"] for row in cache.rows("ls", "--content"))


def test_warm_reads_lists(cache: Cache, registry: MockRegistry, tmp_path: Path) -> None:
    for tag in ("1", "2", "3"):
        registry.add_image("team/app", tag, seed=tag)
    (tmp_path / "images.txt").write_text(f"# ours\n\n{APP}:1\nteam/app:2  # too\n")
    cache("warm", "--file", "images.txt")
    assert [row["tag"] for row in cache.rows("ls")] == ["1", "2"]
    cache("warm", "--file", "-", input=f"{APP}:3\n")
    assert [row["tag"] for row in cache.rows("ls")] == ["1", "2", "3"]
    assert "name an image" in cache("warm", expect=64).err
    assert cache("warm", "--file", "-").lines == []


def test_warm_goes_on_behind_what_cannot_be_had(cache: Cache, app: MockImage) -> None:
    done = cache("warm", "team/none:1", "nowhere.test/x", "team/app:1", expect=1)
    assert done.lines[-1] == str(app.digest)
    assert "entrepot upstream add nowhere.test" in done.err
    assert cache("warm", "team/none:1", expect=2).out == ""


def test_warm_chooses_platforms(cache: Cache, app: MockImage) -> None:
    amd, _ = app.children
    cache("warm", "--platform", "linux/amd64", "team/app:1")
    (row,) = cache.rows("ls")
    assert (row["state"], row["digest"]) == ("partial", str(app.digest))
    assert len(cache.directory.stored()) == 2 + len(amd.blobs)
    assert "linux/s390x" in cache("warm", "--platform", "linux/s390x", "team/app:1", expect=2).err
    cache("warm", "--platform", "amd64", "team/app:1", expect=64)


def test_a_terminal_is_shown_bars(cache: Cache, registry: MockRegistry) -> None:
    registry.add_image("team/app", "1", layers=1, layer_size=1_000_000)
    terminal, other = pty.openpty()
    words = [RunningServer.program(), "cache", "warm", "team/app:1", *map(str, cache.options)]
    environment = cache.program.environment | {"TERM": "xterm"}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=other)
    os.close(other)
    shown = b""
    with suppress(OSError):  # how a terminal ends
        while True:
            shown += os.read(terminal, 65536)
    os.close(terminal)
    assert process.stdout is not None
    assert process.stdout.read().startswith(f"{APP}:1: blobs: 2 fetched".encode())
    process.stdout.close()
    assert process.wait() == 0
    assert b"2/2 blobs" in shown
    assert b"{" not in shown


def test_after_warming_a_pull_asks_nobody(
    cache: Cache, mirror: RunningMirror, registry: MockRegistry, app: MockImage
) -> None:
    """CA-05: with the server running beside it, and freshness by ttl."""
    cache("warm", f"{APP}:1")
    registry.clear_requests()
    assert mirror.pull("team/app", "1").body == app.manifest
    assert not registry.requests
    cache.directory.check()


# Looking.


def test_ls_shows_what_is_there_and_what_is_only_known(
    cache: Cache, mirror: RunningMirror, registry: MockRegistry, app: MockImage
) -> None:
    registry.add_image("team/other", "2")
    mirror.pull("team/app", "1")
    mirror.manifest("team/other", "2", method="HEAD")
    assert cache.directory.holds(*digests(app))
    whole, known = cache.rows("ls")
    assert set(whole) == {
        "cache",
        "repository",
        "tag",
        "digest",
        "media_type",
        "size",
        "state",
        "pinned",
        "checked_at",
        "since",
        "age",
    }
    assert (whole["repository"], whole["tag"]) == (APP, "1")
    assert (whole["digest"], whole["state"]) == (str(app.digest), "stored")
    sizes = {blob.digest: blob.size for child in app.children for blob in child.blobs}
    manifests = app.descriptor.size + sum(child.descriptor.size for child in app.children)
    assert whole["size"] == sum(sizes.values()) + manifests
    assert (known["state"], known["size"], known["pinned"]) == ("known", 0, False)
    lines = cache("ls").lines
    assert lines[0].split() == ["IMAGE", "DIGEST", "CHECKED", "SIZE", "STATE"]
    assert lines[1].startswith(f"{APP}:1 ")
    assert lines[1].endswith("stored")


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        (UPSTREAM, {"1", "2", "3"}),
        (APP, {"1", "2"}),
        ("team/app", {"1", "2"}),
        (f"{APP}:2", {"2"}),
        ("nowhere.test/x", set()),
    ],
)
def test_ls_lists_what_is_named(
    cache: Cache, registry: MockRegistry, word: str, shown: set[str]
) -> None:
    for name, tag in (("team/app", "1"), ("team/app", "2"), ("team/other", "3")):
        registry.add_image(name, tag, seed=tag)
        cache("warm", f"{name}:{tag}", "-q")
    assert {row["tag"] for row in cache.rows("ls", word)} == shown
    assert bool(shown) == (cache("ls", word).out != "there is nothing of that in the cache\n")


def test_ls_lists_content(cache: Cache, registry: MockRegistry, app: MockImage) -> None:
    registry.add_image("team/other", "1", seed="other")
    cache("warm", "team/app:1", "team/other:1")
    rows = cache.rows("ls", "--content", APP)
    assert {row["digest"] for row in rows} == digests(app)
    assert set(rows[0]) == {
        "cache",
        "digest",
        "size",
        "state",
        "upstream",
        "pinned",
        "uses",
        "stored_at",
        "used_at",
        "verified_at",
    }
    assert {(row["state"], row["upstream"]) for row in rows} == {("stored", UPSTREAM)}
    assert {row["digest"] for row in cache.rows("ls", "--content", f"{APP}:1")} == digests(app)
    assert len(cache.rows("ls", "--content")) > len(rows)
    assert len(cache.rows("ls", "--content", str(app.digest))) == 1


def test_stats_count_what_clients_got(
    cache: Cache, mirror: RunningMirror, app: MockImage, registry: MockRegistry
) -> None:
    mirror.pull("team/app", "1")
    mirror.pull("team/app", "1")
    pulls = 3 + sum(len(child.blobs) for child in app.children)
    wait_until(lambda: cache.directory.usage("hits") >= pulls)
    (row,) = cache.rows("stats")
    assert set(row) == {"cache", "limit", "free", "total", "upstreams"}
    (one,) = row["upstreams"]
    assert (one["upstream"], one["limit"], row["limit"]) == (UPSTREAM, None, None)
    assert one["size"] == sum(path.stat().st_size for path in cache.directory.files().values())
    assert (one["items"], one["hits"]) == (len(digests(app)), pulls)
    assert one["hit_ratio"] == 0.5
    assert row["free"] > 0
    text = cache("stats").out
    assert "; no limit; " in text
    assert "50%" in text


def test_stats_tell_limits_and_events(cache: Cache, registry: MockRegistry) -> None:
    registry.add_image("team/app", "1", seed="old")
    cache("warm", "team/app:1")
    new = registry.add_image("team/app", "1", seed="new")
    cache("purge", f"{UPSTREAM}/team/none", expect=2)
    text = Path(cache.options[1]).read_text()
    Path(cache.options[1]).write_text(text.replace('"ttl"', '"always"'))
    cache("warm", "team/app:1")
    (row,) = cache.rows("stats", "--events")
    assert row["upstreams"][0]["limit"] == 1 << 30
    (event,) = row["events"]
    assert (event["kind"], event["repository"], event["reference"]) == ("tag.moved", APP, "1")
    assert str(new.digest) in event["detail"]
    assert "tag.moved" in cache("stats", "--events").out
    assert "1.0 GiB" in cache("stats").out


# Purging.


def test_a_purged_tag_is_asked_for_once(
    cache: Cache, mirror: RunningMirror, registry: MockRegistry, app: MockImage
) -> None:
    """CA-06: purge, then pull: exactly one GET upstream."""
    mirror.pull("team/app", "1")
    assert cache.directory.holds(*digests(app))
    registry.clear_requests()
    assert cache("purge", f"{APP}:1").lines == ["forgot 1 name; removed 0 contents (0 B)"]
    mirror.pull("team/app", "1")
    assert [(one.method, one.path) for one in registry.requests] == [
        ("GET", "/v2/team/app/manifests/1")
    ]
    mirror.pull("team/app", "1")
    assert len(registry.requests) == 1


def test_a_purged_blob_is_asked_for_once(
    cache: Cache, mirror: RunningMirror, registry: MockRegistry
) -> None:
    """CA-06: by digest."""
    image = registry.add_image("team/app", "1")
    layer = image.layers[0]
    mirror.pull("team/app", "1")
    assert cache.directory.holds(*(blob.digest for blob in image.blobs))
    registry.clear_requests()
    (row,) = cache.rows("purge", str(layer.digest))
    assert row == {"names": 1, "contents": 1, "size": layer.size, "kept": 0}
    assert str(layer.digest) not in cache.directory.stored()
    mirror.pull("team/app", "1")
    assert [one.method for one in registry.requests] == ["GET"]
    cache.directory.check()


def test_a_purged_repository_leaves_what_others_share(cache: Cache, registry: MockRegistry) -> None:
    """CA-06: by repository."""
    shared = b"shared"
    app = registry.add_image("team/app", "1", layers=[shared, b"app"])
    other = registry.add_image("team/other", "1", layers=[shared, b"other"])
    cache("warm", "team/app:1", "team/other:1")
    kept = {str(other.digest), *(str(blob.digest) for blob in other.blobs)}
    gone = {str(app.digest), *(str(blob.digest) for blob in app.blobs)} - kept
    (row,) = cache.rows("purge", APP)
    assert row["contents"] == len(gone)
    assert cache.directory.stored() == kept
    assert [row["repository"] for row in cache.rows("ls")] == [f"{UPSTREAM}/team/other"]
    cache.directory.check()


def test_purge_all_asks_before(cache: Cache, app: MockImage) -> None:
    cache("warm", "team/app:1")
    assert "--yes" in cache("purge", "--all", expect=64).err
    assert cache.directory.stored() == digests(app)
    cache("purge", expect=64)
    cache("purge", APP, "--all", expect=64)
    (row,) = cache.rows("purge", "--all", "--yes")
    assert row["contents"] == len(digests(app))
    assert not cache.directory.files()
    assert cache("ls").out == "the cache is empty\n"
    cache.directory.check()


def test_what_upstreams_have_left_can_be_purged(cache: Cache, app: MockImage) -> None:
    cache("warm", "team/app:1")
    Path(cache.options[1]).write_text("")
    assert cache("ls").lines[1].startswith(f"{APP}:1 ")
    cache("purge", APP)
    assert not cache.directory.stored()


def test_purge_leaves_what_is_pinned_unless_told(cache: Cache, app: MockImage) -> None:
    cache("warm", "--pin", "team/app:1")
    (row,) = cache.rows("purge", APP)
    assert (row["contents"], row["kept"]) == (0, len(digests(app)))
    assert cache.directory.stored() == digests(app)
    (row,) = cache.rows("purge", "--all", "--yes", "--pinned")
    assert (row["contents"], row["kept"]) == (len(digests(app)), 0)


# Pins.


def test_pin_and_unpin_an_image(cache: Cache, app: MockImage) -> None:
    cache("warm", "team/app:1")
    (row,) = cache.rows("pin", f"{APP}:1")
    assert row == {
        "image": f"{APP}:1",
        "repository": APP,
        "digest": str(app.digest),
        "pinned": True,
        "changed": len(digests(app)),
        "contents": len(digests(app)),
        "size": row["size"],
        "state": "stored",
    }
    assert cache("ls").lines[1].endswith("stored, pinned")
    assert cache.rows("pin", f"{APP}:1")[0]["changed"] == 0
    done = cache("unpin", f"{APP}@{app.digest}")
    assert done.out.startswith(f"unpinned {APP}@{app.digest}: {len(digests(app))} contents")
    assert not any(row["pinned"] for row in cache.rows("ls", "--content"))


def test_pin_by_digest_alone(cache: Cache, app: MockImage) -> None:
    cache("warm", "team/app:1")
    child = app.children[0]
    (row,) = cache.rows("pin", str(child.digest))
    assert row["contents"] == 1 + len(child.blobs)
    (row,) = cache.rows("pin", str(app.children[1].layers[0].digest))
    assert row["contents"] == 1


def test_pin_says_if_only_a_part_is_there(cache: Cache, app: MockImage) -> None:
    cache("warm", "--platform", "linux/amd64", "team/app:1")
    assert "entrepot cache warm --pin" in cache("pin", f"{APP}:1").err
    assert "entrepot cache ls" in cache("pin", f"{APP}:7", expect=2).err
    cache("pin", f"sha256:{'0' * 64}", expect=2)
    cache("pin", "sha256:0", expect=64)


# Verification.


def test_verify_finds_nothing_wrong(cache: Cache, app: MockImage) -> None:
    cache("warm", "team/app:1")
    (row,) = cache.rows("verify")
    assert row["checked"] == len(digests(app))
    assert (row["corrupt"], row["repaired"], row["failed"]) == ([], [], {})
    assert "all of them are right" in cache("verify", f"{APP}:1").out


def test_verify_drops_what_is_wrong(cache: Cache, app: MockImage) -> None:
    """CA-08"""
    cache("warm", "team/app:1")
    layer, config = app.children[0].layers[0].digest, app.children[1].blobs[0].digest
    cache.directory.flip(layer)
    cache.directory.remove(config)
    done = cache("verify", "--json", expect=4)
    assert set(done.json["corrupt"]) == {str(layer), str(config)}
    assert cache.directory.stored() == digests(app) - {str(layer), str(config)}
    assert cache.rows("ls")[0]["state"] == "partial"
    cache("verify")
    cache.directory.check()


def test_verify_repairs(cache: Cache, registry: MockRegistry, app: MockImage) -> None:
    """CA-08"""
    cache("warm", "team/app:1")
    layer, child = app.children[0].layers[0].digest, app.children[1].digest
    for digest in (layer, child):
        cache.directory.flip(digest)
    registry.clear_requests()
    (row,) = cache.rows("verify", "--repair")
    assert set(row["repaired"]) == {str(layer), str(child)}
    assert registry.count("GET") == 2
    assert cache.directory.stored() == digests(app)
    assert len(cache.directory.events("content.repaired")) == 2
    cache.directory.check()


def test_verify_looks_at_one_image_only(cache: Cache, registry: MockRegistry) -> None:
    app = registry.add_image("team/app", "1", seed="app")
    other = registry.add_image("team/other", "1", seed="other")
    cache("warm", "team/app:1", "team/other:1")
    cache.directory.flip(other.layers[0].digest)
    (row,) = cache.rows("verify", f"{APP}:1")
    assert row["checked"] == 1 + len(app.blobs)
    cache("verify", f"{UPSTREAM}/team/other:1", expect=4)


def test_verify_says_why_it_cannot_repair(
    cache: Cache, registry: MockRegistry, app: MockImage
) -> None:
    cache("warm", "team/app:1")
    layer = app.children[0].layers[0].digest
    cache.directory.flip(layer)
    registry.fault(ServerError(404), digest=layer, times=None)
    done = cache("verify", "--repair", "--json", expect=4)
    assert list(done.json["failed"]) == [str(layer)]
    assert done.json["failed"][str(layer)]["code"] == "BLOB_UNKNOWN"


def test_verify_goes_on_behind_what_cannot_be_read(cache: Cache, app: MockImage) -> None:
    """CA-08"""
    cache("warm", "team/app:1")
    unread, wrong = app.children[0].layers[0].digest, app.children[1].layers[0].digest
    cache.directory.lock_up(unread)
    cache.directory.flip(wrong)
    done = cache("verify", "--json", expect=4)
    assert done.json["corrupt"] == [str(wrong)]
    assert list(done.json["failed"]) == [str(unread)]
    assert done.json["checked"] == len(digests(app)) - 1
    assert f"{unread}: not compared (" in cache("verify", expect=4).out
