"""All workers of a province in one process and one event loop, for provinces that share a machine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from schemas.connection import Connection
from schemas.store import connect, serving_generation
from streams.app import StreamApp, run
from streams.endpoint import Outside, Shown, Together
from streams.workers import INTAKE_SERVERS, VIEW_SERVERS, intake_worker, view_worker

__all__ = ["Beside", "Province"]


class Beside(Protocol):
    """What runs in a thread of its own beside the workers: `run` until `stop`. Whatever it raises stops the process."""

    def run(self) -> None:
        """Work until told to stop."""

    def stop(self) -> None:
        """End `run`; from any thread."""


class Province:
    """Intake, view and what runs beside them. The process ends when one of them does, as each alone would end.

    `connect_as` gives the connection as a principal; `beside` what is to run in threads, by name; `shown` what that shows.
    """

    def __init__(
        self,
        connect_as: Callable[[str], Connection],
        *,
        beside: Sequence[tuple[str, Beside]] = (),
        shown: Iterable[Shown] = (),
        instance: str | None = None,
    ) -> None:
        self._connect_as, self._beside, self._instance = connect_as, beside, instance
        self._intake, self._view = Outside("intake", INTAKE_SERVERS), Outside("view", VIEW_SERVERS)
        self.outside = Together("province", (self._intake, self._view, *shown))

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or a failure of any part, which is raised."""
        view = self._connect_as("view")
        with connect(view.database.get_secret_value(), autocommit=True) as session:
            generation = serving_generation(session)
        run(
            intake_worker(self._connect_as("intake"), outside=self._intake, instance=self._instance),
            self._with_beside(view_worker(view, generation=generation, outside=self._view, instance=self._instance)),
        )

    def _with_beside(self, build: Callable[[], StreamApp]) -> Callable[[], StreamApp]:
        def built() -> StreamApp:
            app = build()
            for name, work in self._beside:
                _run_with(app, name, work)
            return app

        return built


def _run_with(app: StreamApp, name: str, work: Beside) -> None:
    @app.task
    async def run_with() -> None:
        loop = asyncio.get_running_loop()

        def guarded() -> None:
            try:
                work.run()
            except Exception as error:  # noqa: BLE001  # handed on whole: the process ends with it
                asyncio.run_coroutine_threadsafe(app.stop_for(error), loop)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        try:
            await app.wait_until_stopped()
        finally:
            work.stop()
            await asyncio.to_thread(thread.join, 10.0)
