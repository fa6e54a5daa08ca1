"""The composition root: Settings in, a running server out. The only place that knows both
services and adapters."""

import asyncio
import contextlib
import gc
import glob
import os
import resource
import secrets
import shutil
import signal
import socket
import ssl
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from entrepot import __version__, logs
from entrepot.adapters.metadata_stores.migrate import is_current, migrate
from entrepot.adapters.metadata_stores.store import SqlMetadataStore
from entrepot.bootstrap.faces import faces, token_key
from entrepot.bootstrap.proxy import opened_proxy, upstreams_in_force
from entrepot.config import ServerSettings, Settings
from entrepot.oci.errors import RegistryError, Unavailable
from entrepot.plugins import load
from entrepot.ports.clock import Clock
from entrepot.ports.content_store import ContentStore
from entrepot.ports.metadata_store import MetadataStore
from entrepot.rules.site_choice import trusted_networks
from entrepot.server.connections import Server
from entrepot.server.limits import Limits
from entrepot.server.listener import Listener, listen
from entrepot.server.tls import tls_context
from entrepot.server.workers import STOP_SIGNALS, Supervisor
from entrepot.services.blobs import Blobs
from entrepot.services.catalog import Catalog
from entrepot.services.gates import Gates, deletes_switched_off
from entrepot.services.housekeeping import Housekeeping
from entrepot.services.manifests import Manifests
from entrepot.services.referrers import Referrers
from entrepot.services.registry import Registry
from entrepot.services.tags import Tags
from entrepot.services.uploads import Uploads
from entrepot.web import metrics
from entrepot.web.app import WebApplication
from entrepot.web.message import Request
from entrepot.web.v2 import errors
from entrepot.web.v2.api import Api, Options
from entrepot.web.v2.guard import Guard

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

HOUSEKEEPING_INTERVAL: Final = 300.0
SCRATCH: Final = "entrepot-metrics-"
EVENT_EXPIRY: Final = 7 * 86400.0
CUT_GRACE: Final = 5.0
"""Seconds a worker has, after the shutdown timeout, to close what it cut."""


def serve(settings: Settings) -> int:
    """Run the server until SIGTERM or SIGINT; return the exit code.

    Raise ListenError, CertificateError, or what opening the stores raises.
    """
    # A signal that comes before its handlers exist waits for them.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    _allow_open_files()
    logs.configure(settings.log)
    log = logs.get_logger("server")
    workers = settings.server.worker_count(len(os.sched_getaffinity(0)))
    tls = _tls(settings.server)
    _check_storage(settings)
    upstreams_in_force(settings)  # before any worker finds out
    key = token_key(settings)
    _migrate_apart(database_url(settings))
    listeners = [listen(address, workers) for address in settings.server.listen]
    scratch = _scratch_directory()
    metrics.prepare(scratch)

    def run(slot: int) -> int:
        return uvloop.run(_work(settings, slot, listeners, tls, scratch, key))

    def report(event: str, slot: int, detail: str) -> None:
        log.warning(event, worker=slot, detail=detail)
        metrics.retire(scratch, slot)

    def stop_listening() -> None:
        for listener in listeners:
            listener.stop_listening()

    try:
        for listener in listeners:
            log.info(
                "listening",
                address=_shown(listener, secure=tls is not None),
                workers=workers,
                data=str(settings.storage.path),
                version=__version__,
            )
        if workers == 1:
            return run(0)
        # What exists before the fork is shared by all workers; collecting it would copy it.
        gc.freeze()
        grace = settings.server.shutdown_timeout + CUT_GRACE
        return Supervisor(workers, run, report, stop_listening).serve(grace)
    finally:
        for listener in listeners:
            listener.close()
        shutil.rmtree(scratch, ignore_errors=True)


def prepare_storage(settings: Settings) -> None:
    """Make the data directory and bring the database up to date; blocking.

    Raise OSError or Unavailable.
    """
    _check_storage(settings)
    migrate(database_url(settings))


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Registry]:
    """Open both stores and yield every service on top of them; close the stores at the end."""
    content = _content_store(settings)
    metadata = await SqlMetadataStore.open(database_url(settings), durable=settings.storage.durable)
    try:
        yield assemble(settings, content, metadata, clock=SystemClock(), new_id=_new_id)
    finally:
        await metadata.close()
        await content.close()


def assemble(
    settings: Settings,
    content: ContentStore,
    metadata: MetadataStore,
    *,
    clock: Clock,
    new_id: Callable[[], str],
) -> Registry:
    """Put the services together on any two stores."""
    storage, rules = settings.storage, settings.registry
    gates = Gates(
        (
            deletes_switched_off(
                tags=rules.delete_tags, manifests=rules.delete_manifests, blobs=rules.delete_blobs
            ),
        )
    )
    return Registry(
        Blobs(metadata.blobs, content, gates, clock, storage.blob_lease, rules.mount_from_anywhere),
        Uploads(
            metadata.uploads, metadata.blobs, content, gates, clock, new_id, storage.blob_lease
        ),
        Manifests(
            metadata.manifests,
            content,
            gates,
            clock,
            rules.max_manifest_size,
            rules.require_blobs,
            rules.require_index_children,
        ),
        Tags(metadata.tags, gates, clock),
        Referrers(metadata.manifests, content, rules.max_manifest_size),
        Catalog(metadata.catalog),
        Housekeeping(
            metadata.uploads, metadata.outbox, content, clock, storage.upload_expiry, EVENT_EXPIRY
        ),
        content,
        metadata,
    )


def database_url(settings: Settings) -> str:
    """Return the metadata database's URL: the one that is set, or the embedded default."""
    return str(settings.metadata.url) or f"sqlite:///{settings.storage.path / 'metadata.db'}"


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> float:
        """Return the time in seconds since the Unix epoch."""
        return time.time()


def _tls(server: ServerSettings) -> ssl.SSLContext | None:
    """Return what HTTPS needs, None where plain HTTP is served. Raise CertificateError."""
    if server.tls_certificate is None or server.tls_key is None:
        return None
    return tls_context(server.tls_certificate, server.tls_key, http2=server.http2)


def _check_storage(settings: Settings) -> None:
    """Find out before any worker does whether the data directory can be used.

    Raise OSError or Unavailable naming it.
    """
    path = settings.storage.path
    path.mkdir(parents=True, exist_ok=True)
    try:
        _content_store(settings)
    except RegistryError as error:
        raise Unavailable(f"the data directory {path} cannot be used: {error.message}") from None


def _content_store(settings: Settings) -> ContentStore:
    driver = load("entrepot.content_stores", settings.storage.driver)
    store: ContentStore = driver(settings.storage.path, durable=settings.storage.durable)
    return store


def _allow_open_files() -> None:
    """Raise the limit of open files as far as it goes: a connection is one, a transfer two."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _scratch_directory() -> Path:
    """Make the folder that the workers' metrics meet in, and clear away what servers that
    were killed have left. Its name holds the machine's name and the server's process id."""
    prefix = f"{SCRATCH}{socket.gethostname()}-"
    for left in Path(tempfile.gettempdir()).glob(f"{glob.escape(prefix)}*"):
        owner = left.name.removeprefix(prefix).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-"))


def _migrate_apart(url: str) -> None:
    """Bring the database's schema up to date in a process of its own.

    Migrations import several times what serving needs; that memory goes with the process.
    Raise what `migrate` raises.
    """
    if is_current(url):
        return
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            migrate(url)
        except RegistryError as error:
            os.write(writer, error.message.encode())
            os._exit(1)
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        message = answer.read()
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise Unavailable(message or "the metadata database could not be migrated")


def _new_id() -> str:
    return secrets.token_urlsafe(24)


def _shown(listener: Listener, *, secure: bool) -> str:
    if listener.path is not None:
        return listener.address
    return f"{'https' if secure else 'http'}://{listener.address}"


async def _work(
    settings: Settings,
    slot: int,
    listeners: list[Listener],
    tls: ssl.SSLContext | None,
    scratch: Path,
    key: bytes,
) -> int:
    """Live one worker's life: serve until told to stop, then end in order."""
    log = logs.get_logger("worker")
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    for listener in listeners:
        listener.keep_only(slot)

    def fault(request: Request, error: Exception) -> None:
        if isinstance(error, RegistryError):
            log.warning("response broken off", request=request.id, reason=error.message)
        else:
            log.error("request failed", request=request.id, exc_info=error)

    access_log = logs.access_log(settings)
    books = metrics.Metrics(scratch, slot)
    async with (
        opened(settings) as hosted,
        opened_proxy(
            settings, environ=os.environ, books=books.mirror, clock=SystemClock()
        ) as mirroring,
    ):
        books.mirror.name(lambda: mirroring.upstreams)
        registry = replace(hosted, proxy=mirroring.proxy)
        beside = faces(settings, mirroring, key, SystemClock())
        api = _api(settings, registry, beside.guard)
        app = WebApplication(registry, api, books, access_log, fault, beside)
        server = Server(
            app, _limits(settings), refuse=errors.refuse, observe=app.observe, fault=fault
        )
        await server.start([listener.socket_of(slot) for listener in listeners], tls)
        upkeep = [
            loop.create_task(_keep_books(books, access_log)),
            loop.create_task(mirroring.keep(first=slot == 0)),
        ]
        if slot == 0:
            upkeep.append(loop.create_task(_keep_house(registry.housekeeping, log)))
        await stop.wait()
        app.stopping = True
        if not await server.stop(settings.server.shutdown_timeout):
            log.warning("requests cut", after_seconds=settings.server.shutdown_timeout)
        for task in upkeep:
            task.cancel()
        await asyncio.gather(*upkeep, return_exceptions=True)
        books.flush()
        if access_log is not None:
            access_log.close()
    return 0


def _api(settings: Settings, registry: Registry, guard: Guard) -> Api:
    rules = settings.registry
    options = Options(rules.max_page_size, rules.chunk_min_length, rules.warnings)
    trusted = trusted_networks(settings.proxy.trusted_proxies)
    return Api(registry, options, guard=guard, trusted=trusted)


def _limits(settings: Settings) -> Limits:
    server = settings.server
    return Limits(
        server.header_timeout,
        server.idle_timeout,
        server.body_timeout,
        server.max_header_bytes,
        server.max_connections,
        server.http2,
    )


async def _keep_books(books: metrics.Metrics, access_log: logs.AccessLog | None) -> None:
    while True:
        await asyncio.sleep(metrics.FLUSH_INTERVAL)
        books.flush()
        if access_log is not None:
            access_log.flush()


async def _keep_house(housekeeping: Housekeeping, log: "FilteringBoundLogger") -> None:
    while True:
        try:
            dropped = await housekeeping.run()
        except Exception:
            # The next round may succeed; the registry serves on.
            log.exception("housekeeping failed")
        else:
            if dropped:
                log.info("abandoned uploads dropped", count=dropped)
        await asyncio.sleep(HOUSEKEEPING_INTERVAL)
