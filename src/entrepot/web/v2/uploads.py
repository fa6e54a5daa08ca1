"""`/v2/<name>/blobs/uploads/…`: push blobs (end-4, end-5, end-6, end-11, end-13, end-14)."""

from collections.abc import AsyncIterator

from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid, UploadOutOfOrder
from entrepot.oci.reference import RepositoryName
from entrepot.protocol.routes import StartUpload, Upload, blob_path, upload_path
from entrepot.protocol.upload import ChunkRange, check_length, parse_content_range, render_range
from entrepot.services.registry import Registry
from entrepot.services.uploads import UploadProgress
from entrepot.web.message import Header, Request, Response
from entrepot.web.v2 import errors


async def post(
    registry: Registry, request: Request, route: StartUpload, chunk_min_length: int
) -> Response:
    """Mount a blob, take a whole one, or open an upload for what follows."""
    parameters = dict(request.parameters())
    if "mount" in parameters:
        mounted = await _mount(registry, request, route.name, parameters)
        if mounted is not None:
            return mounted
    elif "digest" in parameters:
        digest = Digest.parse(parameters["digest"])
        await registry.uploads.store(request.actor, route.name, digest, request.body.chunks())
        return _created(route.name, digest)
    algorithm = parameters.get("digest-algorithm", "sha256")
    progress = await registry.uploads.start(request.actor, route.name, algorithm=algorithm)
    headers = _progress(route.name, progress)
    if chunk_min_length:
        headers.append(("OCI-Chunk-Min-Length", str(chunk_min_length)))
    return Response(202, headers)


async def get(registry: Registry, request: Request, route: Upload) -> Response:
    """Tell how far an upload is."""
    progress = await registry.uploads.status(request.actor, route.name, route.session)
    return Response(204, _progress(route.name, progress))


async def patch(registry: Registry, request: Request, route: Upload) -> Response:
    """Take the next chunk."""
    chunk = _announced(request)
    try:
        progress = await registry.uploads.append(
            request.actor, route.name, route.session, _measured(request, chunk), at=_start(chunk)
        )
    except UploadOutOfOrder as error:
        return _out_of_order(route, error)
    return Response(202, _progress(route.name, progress))


async def put(registry: Registry, request: Request, route: Upload) -> Response:
    """Take the last chunk, if any, and make the upload a blob."""
    texts = [value for key, value in request.parameters() if key == "digest"]
    if not texts:
        raise DigestInvalid(
            "an upload is finished with its digest; send PUT <location>?digest=<digest>"
        )
    digest = Digest.parse(texts[0])
    chunk = _announced(request)
    body = _measured(request, chunk) if request.body.length != 0 else None
    try:
        await registry.uploads.finish(
            request.actor, route.name, route.session, digest, body, at=_start(chunk)
        )
    except UploadOutOfOrder as error:
        return _out_of_order(route, error)
    return _created(route.name, digest)


async def delete(registry: Registry, request: Request, route: Upload) -> Response:
    """Cancel an upload."""
    await registry.uploads.cancel(request.actor, route.name, route.session)
    return Response(204)


async def _mount(
    registry: Registry, request: Request, name: RepositoryName, parameters: dict[str, str]
) -> Response | None:
    digest = Digest.parse(parameters["mount"])
    source = None
    if parameters.get("from"):
        source = RepositoryName.parse(parameters["from"])
    size = await registry.blobs.mount(
        request.actor, source, name, digest, may_pull=request.may_pull
    )
    return None if size is None else _created(name, digest)


def _announced(request: Request) -> ChunkRange | None:
    """Return the range a chunk claims, checked against its length if that is known."""
    field = request.headers.get("content-range")
    if field is None:
        return None
    chunk = parse_content_range(field)
    if request.body.length is not None:
        check_length(chunk, request.body.length)
    return chunk


def _start(chunk: ChunkRange | None) -> int | None:
    return None if chunk is None else chunk.start


async def _measured(request: Request, chunk: ChunkRange | None) -> AsyncIterator[bytes]:
    """Yield the body; a chunked one must have the length its range claims."""
    received = 0
    async for block in request.body.chunks():
        received += len(block)
        if chunk is not None and received > chunk.length:
            break
        yield block
    if chunk is not None:
        check_length(chunk, received)


def _progress(name: RepositoryName, progress: UploadProgress) -> list[Header]:
    return [
        ("Location", upload_path(name, progress.id)),
        ("Range", render_range(progress.offset)),
        ("Docker-Upload-UUID", progress.id),
    ]


def _out_of_order(route: Upload, error: UploadOutOfOrder) -> Response:
    """Refuse a chunk and tell where the upload goes on."""
    return errors.render(error, _progress(route.name, UploadProgress(route.session, error.offset)))


def _created(name: RepositoryName, digest: Digest) -> Response:
    return Response(
        201,
        [("Location", blob_path(name, digest)), ("Docker-Content-Digest", str(digest))],
    )
