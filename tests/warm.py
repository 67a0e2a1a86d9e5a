"""The command `xinliu` as a process of its own that need not import anything: forked from one that has imported it all.

`warm.run` and `warm.Popen` take what `subprocess.run` and `subprocess.Popen` take, for command lines of
`[sys.executable, "-m", MODULE, *words]`. The process has its own pid, environment, folder, streams, signals and exit
code; only the second or two that Python takes for the imports are saved. Where the start of a process is what is
tested, the tests start it cold.

`warm.in_shell` is for shells: it writes a program that does the same for whoever calls it.

The process to fork from is started by the first use and ends with the tests' own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from socket import AF_UNIX, SHUT_RDWR, SOCK_SEQPACKET, recv_fds, send_fds, socket, socketpair
from subprocess import CompletedProcess, TimeoutExpired
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

__all__ = ["CRASHED", "Popen", "in_shell", "run"]

CRASHED: set[str] = set()
"""Crash points (streams/runtime/crash_points.py) at which a process of these tests has killed itself."""

_ROOMS = ("schemas", "producers", "streams", "consumers", "deploy")
_COLD = (".env",)
"""Ends of modules' names that are not for importing: Alembic runs them."""
_LAZY = (
    "alembic.command",
    "anyio.streams.tls",
    "anyio.to_thread",
    "confluent_kafka.schema_registry",
    "encodings.utf_8_sig",
    "faust.app.router",
    "faust.assignor.leader_assignor",
    "faust.assignor.partition_assignor",
    "faust.fixups.django",
    "faust.tables.sets",
    "faust.topics",
    "faust.worker",
    "h11",
    "httpcore2",
    "mode.debug",
    "numpy.ma",
    "psycopg_pool",
    "pyarrow",
    "rich.progress",
    "stdnum",
    "truststore",
    "typer._adapters",
    "xlsxwriter",
)
"""Libraries that the project, or what it uses, imports only where they are needed."""
_ROOT = Path(__file__).parent.parent
_one_at_a_time = threading.Lock()
_LONGEST = 200_000
"""Bytes of a request: a command line and an environment."""


class Popen(subprocess.Popen[Any]):
    """A process that was forked from the warm one; all else is as with `subprocess`."""

    _answers: socket
    _armed = ""
    """The crash point that it was told of, unless somebody else kills it."""

    def _execute_child(self, args: Sequence[str], *rest: Any) -> None:  # type: ignore[override]
        _, _, _, _, cwd, env, _, _, _, *pipes = rest
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = pipes[:6]
        python, option, *words = args
        assert (python, option) == (sys.executable, "-m"), f"no command line of a module: {args}"
        if "--crash-at" in words:
            self._armed = words[words.index("--crash-at") + 1].partition(":")[0]
        request = {"words": words, "folder": os.fspath(cwd or Path.cwd()), "environment": dict(env or os.environ)}
        self._answers, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        streams = [end if end != -1 else own for end, own in ((p2cread, 0), (c2pwrite, 1), (errwrite, 2))]
        try:
            with theirs, _one_at_a_time:
                send_fds(_warm(), [json.dumps(request).encode()], [*streams, theirs.fileno()])
            self.pid = int(self._answers.recv(100))
            self._child_created = True
        finally:
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._answers], [], [], 0)[0]:
            return 0, 0
        told = self._answers.recv(100)
        if not told:
            raise RuntimeError("the process that the tests' commands are forked from has ended")
        self._answers.close()
        return self.pid, int(told)

    def _handle_exitstatus(self, sts: int, *_: Any) -> None:
        super()._handle_exitstatus(sts)  # type: ignore[misc]
        if self._armed and self.returncode == -signal.SIGKILL:
            CRASHED.add(self._armed)

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""
        self.poll()
        self._armed = ""
        super().send_signal(sig)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):  # else another thread waits for it
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid == self.pid:
                        self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


def run(
    command: Sequence[str],
    *,
    input: str | bytes | None = None,  # as subprocess.run has it
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **options: Any,
) -> CompletedProcess[Any]:
    """Run a command to its end, as `subprocess.run`."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(command, **options) as process:
        try:
            stdout, stderr = process.communicate(input, timeout=timeout)
        except TimeoutExpired:
            process.kill()
            process.wait()
            raise
        except BaseException:
            process.kill()
            raise
        code = process.poll()
    assert code is not None
    done = CompletedProcess(command, code, stdout, stderr)
    if check:
        done.check_returncode()
    return done


_CLIENT = """#!{python} -ISE
import array, json, os, socket, sys
there = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
there.connect({address!r})
said = json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]).encode()
socket.send_fds(there, [said], [0, 1, 2])
code = int(there.recv(100) or 1)
sys.exit(code if code >= 0 else 128 - code)
"""


@contextlib.contextmanager
def in_shell(program: Path, *words: str, folder: Path = _ROOT) -> Iterator[None]:
    """Have a program that runs `python -m *words …` as the others here, with the folder, environment and streams of its
    caller.

    `folder` is where modules are imported from. The program is there until the end of the block; whoever kills it kills
    what it runs.
    """
    with TemporaryDirectory(prefix="xinliu-") as short:  # an address has 107 bytes at most
        address = f"{short}/warm"
        listening = socket(AF_UNIX, SOCK_SEQPACKET)
        listening.bind(address)
        listening.listen()
        program.write_text(_CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
        program.chmod(0o755)
        threading.Thread(target=_answer_calls, args=(listening, words, folder), daemon=True).start()
        try:
            yield
        finally:
            program.unlink()
            listening.shutdown(SHUT_RDWR)  # wakes the thread, which closes it


def _answer_calls(listening: socket, words: Sequence[str], folder: Path) -> None:
    with listening:
        while True:
            try:
                caller, _ = listening.accept()
            except OSError:  # shut down
                return
            threading.Thread(target=_answer, args=(caller, words, folder), daemon=True).start()


def _answer(caller: socket, words: Sequence[str], folder: Path) -> None:
    with caller:
        said, streams, _, _ = recv_fds(caller, _LONGEST, 3)
        here, environment, more = json.loads(said)
        environment["PYTHONPATH"] = os.fspath(folder)
        stdin, stdout, stderr = streams
        try:
            process = Popen(
                [sys.executable, "-m", *words, *more],
                cwd=here,
                env=environment,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
        finally:
            for stream in streams:
                os.close(stream)
        gone, _, _ = select.select([caller, process._answers], [], [])
        if caller in gone:
            process.kill()
        code = process.wait()
        if caller not in gone:
            caller.send(str(code).encode())


_control: socket | None = None


def _warm() -> socket:
    global _control  # one process to fork from, whoever asks
    if _control is None:
        _control, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

        def end(control: socket = _control) -> None:
            control.close()
            process.wait()

        atexit.register(end)
    return _control


def _import_everything() -> None:
    for room in _ROOMS:
        for module in pkgutil.walk_packages(importlib.import_module(room).__path__, f"{room}."):
            if not module.name.endswith(_COLD):
                importlib.import_module(module.name)
    for library in _LAZY:
        importlib.import_module(library)
    # Threads are not forked, and whoever waited for one in a forked process would wait for ever.
    if any((task / "comm").read_text().strip() == "polars-0" for task in Path("/proc/self/task").iterdir()):
        raise RuntimeError("a module of the project computes with polars where it is imported")


def _serve(control: socket) -> list[str]:
    """Fork a process for every request, and return its words in each of them; end when the tests' process has closed."""
    running: dict[int, int] = {}
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_of_ended(running)
        if control not in ready:
            continue
        request, streams, _, _ = recv_fds(control, _LONGEST, 4)
        if not request:
            os._exit(0)
        *streams, answer = streams
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            for other in (woken, wakes, answer, *running.values()):
                os.close(other)
            return _become(json.loads(request), streams)
        for stream in streams:
            os.close(stream)
        running[pid] = answer
        os.write(answer, str(pid).encode())


def _tell_of_ended(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        answer = running.pop(pid)
        with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(answer, str(status).encode())
        os.close(answer)


def _become(request: dict[str, Any], streams: Sequence[int]) -> list[str]:
    for stream, place in zip(streams, (0, 1, 2), strict=True):
        os.dup2(stream, place, inheritable=True)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    sys.path[:1] = [request["folder"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    words: list[str] = request["words"]
    return words


def _run_to_the_end(module: str) -> NoReturn:
    """Run it as `python -m` does, and end as the interpreter does, but for taking apart all that was imported."""
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
    except BaseException:  # noqa: BLE001  # shown, as at the end of any program
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _main() -> None:
    control = socket(fileno=int(sys.argv[1]))
    _import_everything()
    gc.collect()
    gc.freeze()
    module, *words = _serve(control)
    sys.argv[:] = [module, *words]
    _run_to_the_end(module)


if __name__ == "__main__":
    _main()
