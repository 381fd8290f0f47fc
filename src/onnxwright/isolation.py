"""Runs a step in a process of its own, forked from this one, so that it can neither hang this one nor bring it down."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final, TypeVar

from onnxwright.errors import OnnxwrightError, RouteError
from onnxwright.staging import is_full

_GRACE_SECONDS: Final = 2.0
_Answer = TypeVar("_Answer")


def can_isolate() -> bool:
    """Whether this system can fork a process, and PyTorch has not used a GPU in this one, which a fork can't then."""
    torch = sys.modules.get("torch")
    uses_gpu = torch is not None and torch.cuda.is_initialized()
    return os.name == "posix" and "fork" in multiprocessing.get_all_start_methods() and not uses_gpu


def isolated(step: Callable[[], _Answer], *, seconds: float, folder: str | None = None) -> _Answer:
    """Returns what a step returns, run in a forked process: what it changes in memory is lost, what it writes stays.

    It computes on one thread, since the threads of its parent don't exist in it. Its temporary files lie in `folder`,
    so that they go with it where the process is stopped.

    Raises:
        RouteError: when it takes longer than `seconds`, the process dies, or it raises what is no error of ours.
        OnnxwrightError: what the step raises of that.
        OSError: when the disk is full.
    """
    gc.collect()
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(step, sending, folder), daemon=True)
    process.start()
    sending.close()
    try:
        if not receiving.poll(seconds):
            raise RouteError(f"takes longer than {seconds:.0f} s, and was stopped.")
        is_raised, answer = receiving.recv()
    except EOFError:
        process.join()
        raise RouteError(f"it ends the process that runs it ({reason(process.exitcode)}).") from None
    finally:
        _end(process)
        receiving.close()
    if is_raised:
        raise answer
    return answer  # type: ignore[no-any-return]  # of the step's own type


def _run(step: Callable[[], Any], sending: Connection, folder: str | None) -> None:
    import torch

    # A session of the parent that is collected here would wait for its threads, which don't exist, forever.
    gc.freeze()
    torch.set_num_threads(1)
    tempfile.tempdir = folder or tempfile.tempdir
    for stream in (1, 2):  # what C++ writes there would stand among the parent's progress
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    try:
        answer: tuple[bool, Any] = False, step()
    except BaseException as problem:  # noqa: BLE001 - the parent raises it
        answer = True, _told(problem)
    sending.send_bytes(pickle.dumps(answer))
    sending.close()


def _told(problem: BaseException) -> BaseException:
    if is_full(problem):
        return OSError(28, "No space left on device")
    return problem if isinstance(problem, OnnxwrightError) else RouteError(f"{type(problem).__name__}: {problem}")


def _end(process: Any) -> None:
    process.join(0)
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            process.join(_GRACE_SECONDS)


def reason(code: int | None) -> str:
    """Says how a process ended, by its exit code."""
    return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
