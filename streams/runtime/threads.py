"""Work in threads of its own beside a Faust app: it ends with the app, and the app with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol

from streams.runtime.app import StreamApp

__all__ = ["Thread", "run_beside", "start_thread"]


class Thread(Protocol):
    """Work in a thread of its own. Whatever `run` raises stops the process."""

    def run(self) -> None:
        """Work until told to stop."""

    def stop(self) -> None:
        """End `run` after what is under way; from any thread."""


def run_beside(app: StreamApp, name: str, work: Thread) -> None:
    """Run this work for as long as the app runs."""

    @app.task
    async def run_beside() -> None:
        thread = start_thread(app, name, work.run)
        try:
            await app.wait_until_stopped()
        finally:
            work.stop()
            await asyncio.to_thread(thread.join, 10.0)


def start_thread(app: StreamApp, name: str, run: Callable[[], None]) -> threading.Thread:
    """Start a thread inside the app's event loop; an exception that leaves `run` stops the app."""
    loop = asyncio.get_running_loop()

    def guarded() -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001  # handed on whole: the process ends with it
            asyncio.run_coroutine_threadsafe(app.stop_for(error), loop)

    thread = threading.Thread(target=guarded, name=name, daemon=True)
    thread.start()
    return thread
