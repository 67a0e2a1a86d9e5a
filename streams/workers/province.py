"""All workers of a province in one process and one event loop, for provinces that share a machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from schemas.servers.connection import Connection
from streams.monitoring.endpoint import Outside, Shown, Together
from streams.runtime.app import StreamApp, run, run_beside
from streams.runtime.service import Thread
from streams.workers.assembly import INTAKE_SERVERS, VIEW_SERVERS, intake_worker, view_worker

__all__ = ["Province"]


class Province:
    """Intake, view and their threads. The process ends when one of them does, as each alone would end.

    `connect_as` returns the connection as a principal; `beside` are further threads by name; `shown` are their figures.
    """

    def __init__(
        self,
        connect_as: Callable[[str], Connection],
        *,
        beside: Sequence[tuple[str, Thread]] = (),
        shown: Iterable[Shown] = (),
        instance: str | None = None,
    ) -> None:
        self._connect_as, self._beside, self._instance = connect_as, beside, instance
        self._intake, self._view = Outside("intake", INTAKE_SERVERS), Outside("view", VIEW_SERVERS)
        self.outside = Together("province", (self._intake, self._view, *shown))

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or a failure of any part, which is raised."""
        run(
            # Beside intake: the app of the view is built anew when another generation serves.
            self._with_beside(intake_worker(self._connect_as("intake"), outside=self._intake, instance=self._instance)),
            view_worker(self._connect_as("view"), outside=self._view, instance=self._instance),
        )

    def _with_beside(self, build: Callable[[], StreamApp]) -> Callable[[], StreamApp]:
        def built() -> StreamApp:
            app = build()
            for name, work in self._beside:
                run_beside(app, name, work)
            return app

        return built
