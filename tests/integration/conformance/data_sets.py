"""The kinds of images, indexes and artifacts that a registry must take, one data set each.

What a set holds is random, so no two sets share anything but the empty JSON object.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.integration.conformance.content import (
    OCI_FOREIGN_LAYER,
    OCI_FOREIGN_LAYER_GZIP,
    OCI_MANIFEST,
    SBOM,
    SIGNATURE,
    Content,
    Graph,
    Json,
    artifact,
    empty_json,
    image,
    index,
    random_blob,
)

MISSING_SUBJECT: Final = Content(b"a manifest that nobody pushes", OCI_MANIFEST)


@dataclass(frozen=True, slots=True)
class DataSet:
    """A graph and its tags (tag to digest).

    `tag_parameters`: the tags are set by `?tag=` when their manifest is pushed by digest;
    otherwise it is pushed again by each tag.
    """

    graph: Graph
    tags: dict[str, str] = field(default_factory=dict)
    tag_parameters: bool = False

    def manifest(self, digest: str) -> Content:
        """Return the manifest with that digest."""
        return next(one for one in self.graph.manifests if one.digest == digest)

    def tags_of(self, digest: str) -> list[str]:
        """Return the tags of a manifest."""
        return [tag for tag, tagged in self.tags.items() if tagged == digest]

    def referrers(self) -> dict[str, list[Json]]:
        """Return, for every subject, what the referrers API must show of each referrer."""
        found: dict[str, list[Json]] = {}
        for content in self.graph.manifests:
            subject = subject_of(content)
            if subject is not None:
                found.setdefault(subject, []).append(shown_as_referrer(content))
        return found


def subject_of(content: Content) -> str | None:
    """Return the digest of a manifest's subject, None if it has none."""
    subject = json.loads(content.content).get("subject")
    return None if subject is None else str(subject["digest"])


def shown_as_referrer(content: Content) -> Json:
    """Return the descriptor under which the referrers API shows a manifest."""
    body: dict[str, Any] = json.loads(content.content)
    shown = content.descriptor()
    artifact_type = body.get("artifactType") or body.get("config", {}).get("mediaType")
    if artifact_type:
        shown["artifactType"] = artifact_type
    if body.get("annotations"):
        shown["annotations"] = body["annotations"]
    return shown


def _tagged(tag: str, graph: Graph) -> DataSet:
    return DataSet(graph, {tag: graph.top.digest})


def _note() -> dict[str, str]:
    return {"org.example.note": "said of an artifact", f"org.example.{os.urandom(4).hex()}": "x"}


def _large_manifest() -> DataSet:
    notes = {f"org.example.note-{number}": "A" * 10_000 for number in range(390)}
    return _tagged("large-manifest", image(annotations=notes))


def _artifacts_with_subject() -> DataSet:
    subject = image()
    to_it = subject.top.descriptor()
    plain = image(subject=to_it)
    sbom = artifact(SBOM, subject=to_it, annotations=_note())
    signature = artifact(SIGNATURE, subject=to_it, annotations=_note())
    return DataSet(
        subject + plain + sbom + signature,
        {"image": subject.top.digest, "sbom": sbom.top.digest, "signature": signature.top.digest},
    )


def _index_with_subject() -> DataSet:
    subject = index(image(), image(architecture="arm64"))
    to_it = subject.top.descriptor()
    children = [artifact(SBOM, subject=to_it, annotations=_note()) for _ in range(2)]
    referrer = index(*children, artifactType=SBOM, subject=to_it, annotations=_note())
    return DataSet(subject + referrer, {"index": subject.top.digest, "sboms": referrer.top.digest})


def _non_distributable_layers() -> DataSet:
    whole = image(layers=1)
    absent = [
        random_blob(256, media_type=media_type)
        for media_type in (OCI_FOREIGN_LAYER_GZIP, OCI_FOREIGN_LAYER)
    ]
    body = json.loads(whole.top.content)
    body["layers"] = [
        *(blob.descriptor(urls=[f"https://store.example/{blob.digest}"]) for blob in absent),
        *body["layers"],
    ]
    top = Content(json.dumps(body).encode(), OCI_MANIFEST)
    return _tagged("non-distributable", Graph(whole.blobs, (top,)))


def _custom_fields() -> DataSet:
    custom: Json = {f"org.example.{os.urandom(4).hex()}": os.urandom(4).hex()}
    children = [image(config_fields=custom, **custom) for _ in range(2)]
    return _tagged("custom-fields", index(*children, **custom))


def _sparse() -> DataSet:
    incomplete = image()
    incomplete = incomplete.without(incomplete.blobs[0])
    nowhere = random_blob(1024, media_type=OCI_MANIFEST).descriptor(
        platform={"os": "linux", "architecture": "arm64"}
    )
    sparse_index = index(image(), absent=[nowhere])
    return DataSet(
        incomplete + sparse_index,
        {"sparse-image": incomplete.top.digest, "sparse-index": sparse_index.top.digest},
    )


def _sha512() -> Graph:
    return index(image(algorithm="sha512"), image(algorithm="sha512"), algorithm="sha512")


def _tag_parameters(graph: Graph) -> DataSet:
    tags = {f"parameter-{number}": one.digest for number, one in enumerate(graph.manifests)}
    return DataSet(graph, tags | {"one-more": graph.top.digest}, tag_parameters=True)


DATA_SETS: Final[dict[str, Callable[[], DataSet]]] = {
    "image": lambda: _tagged("image", image()),
    "image-uncompressed": lambda: _tagged("uncompressed", image(compressed=False)),
    "large-manifest": _large_manifest,
    "index": lambda: _tagged("index", index(image(), image(architecture="arm64"))),
    "nested-index": lambda: _tagged(
        "nested", index(index(image(), image()), index(image(), image()))
    ),
    "empty-index": lambda: _tagged("index", index()),
    "artifact": lambda: _tagged("artifact", artifact(SBOM)),
    "artifact-index": lambda: _tagged(
        "artifacts", index(artifact(SBOM), artifact(SBOM), artifactType=SBOM)
    ),
    "artifact-without-layers": lambda: _tagged("artifact", artifact(SBOM, content=empty_json())),
    "artifacts-with-subject": _artifacts_with_subject,
    "index-with-subject": _index_with_subject,
    "missing-subject": lambda: _tagged(
        "sbom", artifact(SBOM, subject=MISSING_SUBJECT.descriptor(), annotations=_note())
    ),
    "data-field": lambda: _tagged("data-field", image(embed=True)),
    "non-distributable-layers": _non_distributable_layers,
    "custom-fields": _custom_fields,
    "no-layers": lambda: _tagged("no-layers", image(layers=0)),
    "sparse": _sparse,
    "sha512": lambda: DataSet(_sha512()),
    "tag-parameters-sha256": lambda: _tag_parameters(index(image(), image())),
    "tag-parameters-sha512": lambda: _tag_parameters(_sha512()),
}
"""Every data set by name; each call makes a new one."""


def distinct(blobs: tuple[Content, ...]) -> Iterator[Content]:
    """Yield blobs, each digest once."""
    yield from {blob.digest: blob for blob in blobs}.values()
