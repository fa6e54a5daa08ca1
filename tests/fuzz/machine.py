"""The machine of the stateful tests: a rule for each request that the API has, right and wrong."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
)

from tests.fuzz.application import Application
from tests.fuzz.model import Model, Stored, Upload
from tests.fuzz.rules import assert_sound
from tests.http_client import Client, Response, with_query
from tests.integration.conformance.content import (
    OCI_CONFIG,
    OCI_MANIFEST,
    Content,
    index,
    manifest,
)
from tests.integration.conformance.repository import content_range

NAMES = ("one", "two/deep", "blobs/uploads")
TAGS = ("latest", "v1", "V1", "_")
POOL = [
    Content(content, OCI_CONFIG, algorithm)
    for algorithm in ("sha256", "sha512")
    for content in (b"", b"a", b"{}", bytes(3000), b"large" * 20_000)
]
CONFIGS = POOL[1:4]
ABSENT = Content(b"never pushed", OCI_CONFIG)
NOWHERE = Content(b"never pushed", OCI_MANIFEST)

names = st.runner().flatmap(lambda machine: st.sampled_from(machine.repositories))
tags = st.sampled_from(TAGS)


def pooled(number: int) -> Content:
    return POOL[number]


blobs = st.integers(0, len(POOL) - 1).map(pooled)
"""By number, for the content is too long to be shown."""


class RegistryMachine(RuleBasedStateMachine):
    """The rules: one for each request that the API has, right and wrong."""

    target: Application | Client
    repositories: tuple[str, ...] = NAMES
    anywhere = True
    """Whether a mount may take a blob from a repository it does not name."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | list[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        response = self.target.request(method, path, body, list((headers or {}).items()))
        assert_sound(response, method=method)
        return response

    # ── blobs ────────────────────────────────────────────────────────────────────────────────

    @rule(name=names, blob=blobs, chunked=st.booleans(), right=st.booleans())
    def push_in_one(self, name: str, blob: Content, chunked: bool, right: bool) -> None:
        content = blob.content if right else blob.content + b"!"
        body = [content[:1], content[1:]] if chunked else content
        answer = self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={blob.digest}", body)
        assert answer.status == (201 if right else 400)
        if right:
            self.model.homes[name].add_blob(blob)

    @rule(name=names, source=st.none() | names, blob=blobs)
    def mount(self, name: str, source: str | None, blob: Content) -> None:
        origin = f"&from={source}" if source else ""
        answer = self.ask("POST", f"/v2/{name}/blobs/uploads/?mount={blob.digest}{origin}")
        holder = source
        if source is None and self.anywhere:
            holder = self.model.holder_of(blob.digest)
        if holder is not None and blob.digest in self.model.homes[holder].blobs:
            assert answer.status == 201
            self.model.homes[name].add_blob(blob)
        else:
            self._opened(name, answer)

    @rule(name=names, blob=blobs, method=st.sampled_from(["GET", "HEAD"]))
    def read_blob(self, name: str, blob: Content, method: str) -> None:
        answer = self.ask(method, f"/v2/{name}/blobs/{blob.digest}")
        if blob.digest not in self.model.homes[name].blobs:
            assert answer.status == 404
            return
        assert answer.status == 200
        assert answer.header("Docker-Content-Digest") == blob.digest
        assert method == "HEAD" or answer.body == blob.content

    @rule(name=names, blob=blobs, first=st.integers(0, 4000), length=st.integers(1, 200_000))
    def read_part_of_a_blob(self, name: str, blob: Content, first: int, length: int) -> None:
        field = {"Range": f"bytes={first}-{first + length - 1}"}
        answer = self.ask("GET", f"/v2/{name}/blobs/{blob.digest}", headers=field)
        if blob.digest not in self.model.homes[name].blobs:
            assert answer.status == 404
        elif blob.content == b"":  # of nothing there are no parts: the whole is the answer
            assert (answer.status, answer.body) == (200, b"")
        elif first >= len(blob.content):
            assert answer.status == 416
        else:
            assert (answer.status, answer.body) == (206, blob.content[first : first + length])

    @rule(name=names, blob=blobs)
    def delete_blob(self, name: str, blob: Content) -> None:
        home = self.model.homes[name]
        answer = self.ask("DELETE", f"/v2/{name}/blobs/{blob.digest}")
        if blob.digest not in home.blobs:
            assert answer.status == 404
        elif home.needs(blob.digest):
            assert answer.status == 403
        else:
            assert answer.status == 202
            del home.blobs[blob.digest]

    # ── uploads ──────────────────────────────────────────────────────────────────────────────

    @rule(name=names, algorithm=st.sampled_from(["", "?digest-algorithm=sha512"]))
    def open_upload(self, name: str, algorithm: str) -> None:
        self._opened(name, self.ask("POST", f"/v2/{name}/blobs/uploads/{algorithm}"))

    def _opened(self, name: str, answer: Response) -> None:
        assert answer.status == 202
        location = answer.header("Location")
        assert location
        self.model.open.append(Upload(name, location))

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), chunk=st.binary(min_size=1, max_size=40), ahead=st.integers(-2, 2))
    def append_a_chunk(self, data: st.DataObject, chunk: bytes, ahead: int) -> None:
        upload = data.draw(st.sampled_from(self.model.open))
        start = max(0, len(upload.received) + ahead)
        answer = self.ask("PATCH", upload.location, chunk, content_range(chunk, start))
        if start != len(upload.received):
            assert answer.status == 416
        else:
            assert answer.status == 202
            upload.received += chunk
        self._reports(upload, answer)

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), chunks=st.lists(st.binary(max_size=20), max_size=4))
    def append_a_stream(self, data: st.DataObject, chunks: list[bytes]) -> None:
        upload = data.draw(st.sampled_from(self.model.open))
        answer = self.ask("PATCH", upload.location, chunks)
        assert answer.status == 202
        upload.received += b"".join(chunks)
        self._reports(upload, answer)

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), claimed=st.integers(1, 9), sent=st.binary(max_size=9))
    def append_what_does_not_fit_its_range(
        self, data: st.DataObject, claimed: int, sent: bytes
    ) -> None:
        upload = data.draw(st.sampled_from(self.model.open))
        if len(sent) == claimed:
            return
        start = len(upload.received)
        field = {"Content-Range": f"{start}-{start + claimed - 1}"}
        assert self.ask("PATCH", upload.location, sent, field).status == 400
        self._reports(upload, self.ask("GET", upload.location))

    @precondition(lambda self: self.model.open)
    @rule(data=st.data())
    def look_at_an_upload(self, data: st.DataObject) -> None:
        upload = data.draw(st.sampled_from(self.model.open))
        answer = self.ask("GET", upload.location)
        assert answer.status == 204
        self._reports(upload, answer)

    def _reports(self, upload: Upload, answer: Response) -> None:
        assert answer.header("Range") == f"0-{max(len(upload.received) - 1, 0)}"
        assert answer.header("Location") == upload.location

    @precondition(lambda self: self.model.open)
    @rule(
        data=st.data(),
        rest=st.binary(max_size=20),
        right=st.booleans(),
        algorithm=st.sampled_from(["sha256", "sha512"]),
    )
    def close_upload(self, data: st.DataObject, rest: bytes, right: bool, algorithm: str) -> None:
        upload = data.draw(st.sampled_from(self.model.open))
        blob = Content(upload.received + rest, OCI_CONFIG, algorithm)
        digest = blob.digest if right else ABSENT.digest
        answer = self.ask("PUT", with_query(upload.location, {"digest": digest}), rest)
        assert answer.status == (201 if right else 400)
        self.model.end(upload)
        if right:
            self.model.homes[upload.repository].add_blob(blob)
            read = self.ask("GET", f"/v2/{upload.repository}/blobs/{digest}")
            assert read.body == blob.content

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), digest=st.sampled_from(["", "?digest=", "?digest=md5:00", "?digest=a:b"]))
    def close_upload_without_a_digest(self, data: st.DataObject, digest: str) -> None:
        upload = data.draw(st.sampled_from(self.model.open))
        assert self.ask("PUT", upload.location + digest, b"").status == 400
        self._reports(upload, self.ask("GET", upload.location))

    @precondition(lambda self: self.model.open)
    @rule(data=st.data())
    def cancel_upload(self, data: st.DataObject) -> None:
        upload = data.draw(st.sampled_from(self.model.open))
        assert self.ask("DELETE", upload.location).status == 204
        self.model.end(upload)

    @precondition(lambda self: self.model.ended)
    @rule(data=st.data(), method=st.sampled_from(["GET", "PATCH", "PUT", "DELETE"]))
    def an_upload_that_has_ended_stays_so(self, data: st.DataObject, method: str) -> None:
        upload = data.draw(st.sampled_from(self.model.ended))
        query = f"?digest={ABSENT.digest}" if method == "PUT" else ""
        body = b"x" if method in ("PATCH", "PUT") else None
        assert self.ask(method, upload.location + query, body).status == 404

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), name=names, method=st.sampled_from(["GET", "PATCH", "PUT", "DELETE"]))
    def an_upload_belongs_to_its_repository(
        self, data: st.DataObject, name: str, method: str
    ) -> None:
        upload = data.draw(st.sampled_from(self.model.open))
        if upload.repository == name:
            return
        stolen = f"/v2/{name}/blobs/uploads/" + upload.location.rpartition("/")[2]
        query = f"?digest={ABSENT.digest}" if method == "PUT" else ""
        body = b"x" if method in ("PATCH", "PUT") else None
        assert self.ask(method, stolen + query, body).status == 404

    # ── manifests ────────────────────────────────────────────────────────────────────────────

    @rule(
        data=st.data(),
        name=names,
        subject=st.sampled_from([None, None, *CONFIGS]),
        tag=st.none() | tags,
        number=st.integers(0, 2),
    )
    def push_manifest(
        self,
        data: st.DataObject,
        name: str,
        subject: Content | None,
        tag: str | None,
        number: int,
    ) -> None:
        """Over blobs of its repository, mostly; `number` tells manifests apart."""
        home = self.model.homes[name]
        mine = st.sampled_from([*home.blobs, *home.blobs, *home.blobs, ABSENT.digest])
        needed = data.draw(st.lists(mine, min_size=1, max_size=3))
        config, *layers = [home.blobs.get(digest, ABSENT).descriptor() for digest in needed]
        fields: dict[str, Any] = {"annotations": {"number": str(number)}}
        if subject is not None:
            fields["subject"] = {**subject.descriptor(), "mediaType": OCI_MANIFEST}
        body = manifest(config, layers, **fields)
        answer = self._put(name, body, tag)
        if ABSENT.digest in needed:
            assert answer.status == 404
            return
        assert answer.status == 201
        assert answer.header("OCI-Subject") == (subject.digest if subject else None)
        stored = Stored(body, frozenset(needed), subject.digest if subject else None)
        home.add_manifest(stored, tag)

    @precondition(lambda self: any(home.manifests for home in self.model.homes.values()))
    @rule(data=st.data(), name=names, tag=st.none() | tags)
    def push_index(self, data: st.DataObject, name: str, tag: str | None) -> None:
        """Its children may be anywhere, or nowhere."""
        known = [
            one.content for home in self.model.homes.values() for one in home.manifests.values()
        ]
        children = data.draw(st.lists(st.sampled_from([*known, NOWHERE]), max_size=3))
        body = index(absent=[child.descriptor() for child in children]).top
        assert self._put(name, body, tag).status == 201
        self.model.homes[name].add_manifest(Stored(body), tag)

    def _put(self, name: str, body: Content, tag: str | None) -> Response:
        path = f"/v2/{name}/manifests/{tag or body.digest}"
        answer = self.ask("PUT", path, body.content, {"Content-Type": body.media_type})
        if answer.status == 201:
            assert answer.header("Docker-Content-Digest") == body.digest
        return answer

    @rule(data=st.data(), name=names, method=st.sampled_from(["GET", "HEAD", "DELETE"]))
    def use_manifest_by_digest(self, data: st.DataObject, name: str, method: str) -> None:
        home = self.model.homes[name]
        digest = data.draw(st.sampled_from([*home.manifests, ABSENT.digest]))
        answer = self.ask(method, f"/v2/{name}/manifests/{digest}")
        if digest not in home.manifests:
            assert answer.status == 404
        elif method == "DELETE":
            assert answer.status == 202
            home.drop_manifest(digest)
        else:
            self._shows(answer, home.manifests[digest].content, method)

    @rule(name=names, tag=tags, method=st.sampled_from(["GET", "HEAD", "DELETE"]))
    def use_manifest_by_tag(self, name: str, tag: str, method: str) -> None:
        home = self.model.homes[name]
        answer = self.ask(method, f"/v2/{name}/manifests/{tag}")
        if tag not in home.tags:
            assert answer.status == 404
        elif method == "DELETE":
            assert answer.status == 202
            del home.tags[tag]
        else:
            self._shows(answer, home.manifests[home.tags[tag]].content, method)

    def _shows(self, answer: Response, body: Content, method: str) -> None:
        assert answer.status == 200
        assert answer.header("Docker-Content-Digest") == body.digest
        assert answer.header("Content-Type") == body.media_type
        assert method == "HEAD" or answer.body == body.content

    # ── lists ────────────────────────────────────────────────────────────────────────────────

    @rule(name=names, number=st.none() | st.integers(1, 5), last=st.none() | tags)
    def list_tags(self, name: str, number: int | None, last: str | None) -> None:
        home = self.model.homes[name]
        query = "&".join(
            part
            for part in (f"n={number}" if number else "", f"last={last}" if last else "")
            if part
        )
        answer = self.ask("GET", f"/v2/{name}/tags/list?{query}")
        if not home.known:
            assert answer.status == 404
            return
        expected = sorted(tag for tag in home.tags if last is None or tag > last)
        assert answer.json() == {"name": name, "tags": expected[:number]}
        assert (answer.header("Link") is not None) == (len(expected) > (number or 100))

    @rule()
    def list_repositories(self) -> None:
        mine = {name for name, home in self.model.homes.items() if home.known}
        found = self.ask("GET", "/v2/_catalog?n=1000").json()["repositories"]
        assert found == sorted(found)
        assert mine == set(found) & set(self.repositories)

    @rule(name=names, subject=st.sampled_from(CONFIGS))
    def list_referrers(self, name: str, subject: Content) -> None:
        answer = self.ask("GET", f"/v2/{name}/referrers/{subject.digest}")
        assert answer.status == 200
        found = {one["digest"] for one in answer.json()["manifests"]}
        assert found == self.model.homes[name].referrers(subject.digest)

    def everything_is_as_the_model_says(self) -> None:
        for name, home in self.model.homes.items():
            for digest, blob in home.blobs.items():
                assert self.ask("GET", f"/v2/{name}/blobs/{digest}").body == blob.content
            for digest, stored in home.manifests.items():
                answer = self.ask("GET", f"/v2/{name}/manifests/{digest}")
                self._shows(answer, stored.content, "GET")
            for tag, digest in home.tags.items():
                head = self.ask("HEAD", f"/v2/{name}/manifests/{tag}")
                assert head.header("Docker-Content-Digest") == digest
        for upload in self.model.open:
            self._reports(upload, self.ask("GET", upload.location))
