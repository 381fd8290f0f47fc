"""A session in a process of its own, for graphs with which an engine may bring down the process that runs it.

OpenVINO joins what the rounds of a loop add to a sequence as if all of it were equally long; where it isn't, it writes
beyond its memory. That shows in a proof, which has to survive it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from onnxwright import backends
from onnxwright.backends import Array, Options, Ran, Tensors
from onnxwright.errors import EngineError
from onnxwright.isolation import reason

_SECONDS: Final = 120.0
"""An answer that takes longer never comes."""


class Sheltered:
    """A session that another process holds, which is started anew where it ended.

    Raises:
        EngineError: when the engine refuses the graph, or ends the process with it.
    """

    def __init__(self, name: str, file: Path, options: Options):
        self._order = (name, file, options)
        self._process = _started()
        self._ran: Ran = self._load()

    @property
    def ran(self) -> Ran:
        """What runs."""
        return self._ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers as the engine does.

        Raises:
            EngineError: when it refuses the feeds, ends its process, or doesn't answer.
        """
        if self._process.returncode is not None:
            self._process = _started()
            self._load()
        answered: dict[str, Array] = self._exchange(dict(feeds))
        return answered

    def _load(self) -> Any:
        weakref.finalize(self, _end, self._process)
        return self._exchange(self._order)

    def _exchange(self, told: Any) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with _stopped_after(_SECONDS, process):
            try:
                pickle.dump(told, process.stdin)
                process.stdin.flush()
                is_raised, answer = pickle.load(process.stdout)  # noqa: S301 - of our own process
            except (OSError, EOFError, pickle.UnpicklingError) as ended:
                why = reason(_end(process))
                raise EngineError(f"{self._order[0]} ends the process that runs it ({why}).") from ended
        if is_raised:
            raise answer
        return answer


def _started() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
    return subprocess.Popen(  # noqa: S603 - our own module, by this very interpreter
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def _end(process: subprocess.Popen[bytes]) -> int:
    process.kill()
    for stream in filter(None, (process.stdin, process.stdout)):
        with contextlib.suppress(OSError):  # what is left to write has no reader
            stream.close()
    return process.wait()


@contextlib.contextmanager
def _stopped_after(seconds: float, process: subprocess.Popen[bytes]) -> Iterator[None]:
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def serve() -> None:
    """Answers what a parent tells by standard input: what to load, with what runs then; and feeds, with the answer."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what C++ writes there would stand among the answers
    session: backends.Session | None = None
    with contextlib.suppress(EOFError):
        while True:
            told = pickle.load(sys.stdin.buffer)  # noqa: S301 - of the parent
            try:
                if session is None:
                    name, file, options = told
                    session = backends.engine(name).prepare(file, options)
                    answer: tuple[bool, Any] = False, session.ran
                else:
                    answer = False, session.run(told)
            except EngineError as refusal:
                answer = True, refusal
            pickle.dump(answer, replies)
            replies.flush()
