"""Archives to read whose kind is not known before they are opened: what comes down a pipe."""

from entrepot.adapters.ends.archive_input import open_archive
from entrepot.adapters.ends.docker_archive import DockerArchiveSource
from entrepot.adapters.ends.docker_image import TABLE
from entrepot.adapters.ends.layout_source import MAX_MANIFEST
from entrepot.adapters.ends.oci_archive import OciArchiveSource
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Tag


async def open_archive_source(
    path: str,
    repository: str | None = None,
    reference: Tag | Digest | None = None,
    *,
    docker: bool = False,
    max_manifest_size: int = MAX_MANIFEST,
) -> OciArchiveSource | DockerArchiveSource:
    """Open an archive of either kind, a file or standard input (`-`).

    One that is both is read as an image layout, which knows more, unless `docker` is asked for
    or a repository is named. Raise what `open_archive` raises, or ContentInvalid.
    """
    files = await open_archive(path)
    layout, table = files.find("index.json") is not None, files.find(TABLE) is not None
    try:
        if table and (docker or repository is not None or not layout):
            return DockerArchiveSource(
                files, repository, reference, max_manifest_size=max_manifest_size
            )
        return OciArchiveSource(files, reference, max_manifest_size=max_manifest_size)
    except BaseException:
        files.close()
        raise
