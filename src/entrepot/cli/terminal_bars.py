"""Progress for people: a bar for each layer on its way and one for all, drawn by rich. Layers
that are done disappear into the last line. Imported only where there is a terminal."""

from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from entrepot.cli.output import human_size
from entrepot.cli.progress import Tally
from entrepot.oci.digest import Digest
from entrepot.services.progress import (
    BlobAdvanced,
    BlobFinished,
    BlobStarted,
    Event,
    Planned,
    Retried,
    Warned,
)

_SHORT: Final = 12
_REFRESHES: Final = 8


class _TotalLast(Progress):
    """The first task, which is the sum, below all others."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table([*self.tasks[1:], *self.tasks[:1]])


class _Speed(ProgressColumn):
    """Bytes per second, in the units of sizes."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{human_size(speed)}/s" if speed else "", style="progress.data.speed")


class TerminalBars:
    """Bars from the start of a `with` block to its end."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, markup=False, soft_wrap=True)
        self._bars = _TotalLast(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            DownloadColumn(binary_units=True),
            _Speed(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            refresh_per_second=_REFRESHES,
            transient=True,
            expand=True,
        )
        self._tally = Tally()
        self._tasks: dict[Digest, TaskID] = {}
        self._total = self._bars.add_task("total", total=None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        self._tally.add(event)
        match event:
            case Warned():
                self._console.print(f"warning: {event.text}")
            case Planned():
                self._show_total()
            case BlobStarted():
                self._start(event)
            case Retried():
                self._show(event.descriptor.digest)
            case BlobAdvanced():
                self._show(event.digest)
            case BlobFinished():
                task = self._tasks.pop(event.descriptor.digest, None)
                if task is not None:
                    self._bars.remove_task(task)
                self._show_total()
            case _:
                pass

    def _start(self, event: BlobStarted) -> None:
        digest, size = event.descriptor.digest, event.descriptor.size
        if digest not in self._tasks:
            self._tasks[digest] = self._bars.add_task(digest.hex[:_SHORT], total=size)
        # What was there before counts as done, not as fast.
        self._bars.reset(self._tasks[digest], completed=event.offset, total=size)
        self._show_total()

    def _show(self, digest: Digest) -> None:
        if digest in self._tasks:
            self._bars.update(self._tasks[digest], completed=self._tally.offset(digest))
        self._show_total()

    def _show_total(self) -> None:
        tally = self._tally
        self._bars.update(
            self._total,
            description=f"{tally.blobs}/{tally.total_blobs} blobs".ljust(_SHORT),
            completed=tally.bytes,
            total=tally.total_bytes or None,
        )
