"""Referrer copy: signatures, SBOMs and other manifests that name what was copied as subject.

They follow their subjects, and theirs follow them. Each is published without a tag, which is how
a registry comes to list it, and a folder to find it.
"""

import asyncio
from collections.abc import Collection, Sequence

from entrepot.oci import media_types
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.errors import ManifestUnknown
from entrepot.ports.image_end import ImageSource, ImageTarget
from entrepot.services.graph_copy import GraphCopy
from entrepot.services.progress import Report, Warned
from entrepot.services.verified_manifest import MAX_MANIFESTS, read_manifest, too_many


class ReferrerCopy:
    """Copying referrers of these artifact types, or of all if there are none, for `copy`.

    Referrers are never converted. Those of a manifest that was name its old digest and stay
    behind, with a warning.
    """

    def __init__(
        self,
        source: ImageSource,
        target: ImageTarget,
        report: Report,
        copy: GraphCopy,
        *,
        artifact_types: Sequence[str],
        jobs: int,
    ) -> None:
        self._source = source
        self._target = target
        self._report = report
        self._copy = copy
        self._artifact_types = tuple(artifact_types)
        self._jobs = jobs
        # A registry without a referrers API has one list per subject, which is read and written.
        self._publishing = asyncio.Lock()

    async def run(self, replaced: Collection[Digest]) -> None:
        """Copy the referrers of all that `copy` has copied, and theirs, round by round.

        `replaced` are digests of the source that are something else in the target.
        """
        seen = 0
        for digest in replaced:
            if digest not in self._copy.manifests:
                self._warn_of_left(digest, await self._list(digest))
        while len(self._copy.manifests) > seen:
            subjects = list(self._copy.manifests)[seen:]
            seen += len(subjects)
            for first in range(0, len(subjects), self._jobs):
                await self._follow(subjects[first : first + self._jobs], replaced)

    async def _follow(self, subjects: Sequence[Digest], replaced: Collection[Digest]) -> None:
        """Copy the referrers of some subjects; return when all are published."""
        listings = [self._copy.start(self._list(subject)) for subject in subjects]
        copying, indexes = [], []
        for subject, listing in zip(subjects, listings, strict=True):
            found = await listing
            if subject in replaced:
                self._warn_of_left(subject, found)
                continue
            for referrer in found:
                if media_types.is_index(referrer.media_type):
                    indexes.append((subject, referrer))
                elif referrer.digest not in self._copy.manifests:
                    work = self._copy_referrer(subject, referrer)
                    copying.append(await self._copy.in_place(work))
        for task in copying:
            await task
        # Afterwards, in this task: they may list the others, and take places for what they list.
        for subject, referrer in indexes:
            if referrer.digest not in self._copy.manifests:
                await self._copy_referrer(subject, referrer)

    async def _list(self, subject: Digest) -> Sequence[Descriptor]:
        types = self._artifact_types
        found = await self._source.referrers(subject, types[0] if len(types) == 1 else None)
        if len(found) > MAX_MANIFESTS:
            raise too_many()
        unique = {referrer.digest: referrer for referrer in found}.values()
        return [one for one in unique if not types or one.artifact_type in types]

    async def _copy_referrer(self, subject: Digest, referrer: Descriptor) -> None:
        try:
            manifest = await read_manifest(self._source, referrer)
        except ManifestUnknown:
            self._report(
                Warned(
                    f"the source lists {referrer.digest} as a referrer of {subject}, but does not "
                    "have it; it was left out"
                )
            )
            return
        if manifest.subject is None or manifest.subject.digest != subject:
            self._report(
                Warned(
                    f"the source lists {referrer.digest} as a referrer of {subject}, but it does "
                    "not name it as its subject; it was left out"
                )
            )
            return
        done = self._copy.register(referrer)
        stored = await self._copy.below(referrer, manifest)
        async with self._publishing:
            await self._target.publish(stored.descriptor, stored.content, ())
        self._copy.finish(stored.descriptor, done)

    def _warn_of_left(self, subject: Digest, referrers: Sequence[Descriptor]) -> None:
        if referrers:
            self._report(
                Warned(
                    f"{len(referrers)} referrers of {subject} are left behind: what was made of it "
                    "has another digest, and they do not refer to that"
                )
            )
