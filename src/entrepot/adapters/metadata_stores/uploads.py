"""Open upload sessions."""

from collections.abc import Sequence
from dataclasses import asdict

from entrepot.adapters.metadata_stores import rows, sql
from entrepot.adapters.metadata_stores.database import Database, Transaction
from entrepot.oci.errors import BlobUploadUnknown
from entrepot.ports.metadata_store import UploadSession


class SqlUploads:
    """Open upload sessions, over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, session: UploadSession) -> None:
        await self._database.write(_start, session)

    async def find(self, upload: str) -> UploadSession:
        row = await self._database.fetch_one(sql.FIND_UPLOAD, id=upload)
        if row is None:
            raise _unknown(upload)
        return rows.upload_session(row)

    async def touch(self, upload: str, at: float) -> None:
        await self._database.write(_touch, upload, at)

    async def end(self, upload: str) -> None:
        await self._database.write(_end, upload)

    async def idle_since(self, before: float, limit: int) -> Sequence[UploadSession]:
        found = await self._database.fetch_all(sql.LIST_IDLE_UPLOADS, before=before, limit=limit)
        return [rows.upload_session(row) for row in found]


async def _start(tx: Transaction, session: UploadSession) -> None:
    await tx.execute(sql.INSERT_UPLOAD, **asdict(session))


async def _touch(tx: Transaction, upload: str, at: float) -> None:
    await tx.execute(sql.TOUCH_UPLOAD, upload=upload, at=at)


async def _end(tx: Transaction, upload: str) -> None:
    if not await tx.execute(sql.DELETE_UPLOAD, id=upload):
        raise _unknown(upload)


def _unknown(upload: str) -> BlobUploadUnknown:
    return BlobUploadUnknown(
        "this upload does not exist or has ended; start a new one", detail={"upload": upload}
    )
