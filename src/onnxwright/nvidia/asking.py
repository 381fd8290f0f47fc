"""Has a process of its own parse and build: a crash or a hang there is an answer here."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from onnxwright.errors import EngineError
from onnxwright.isolation import reason
from onnxwright.nvidia.orders import Answer, Order

SECONDS: Final = 300.0
"""A graph that takes longer to parse and build is stopped, unless told."""
_MOST_TOLD: Final = 400


class CrashError(EngineError):
    """The process that parsed or built died, or took too long."""


def ask(order: Order, *, seconds: float = SECONDS) -> Answer:
    """Returns what comes of an order.

    Raises:
        CrashError: when the process dies, with what it said last, or takes longer than `seconds`.
    """
    with tempfile.TemporaryDirectory() as folder:
        told, answered = Path(folder) / "order.json", Path(folder) / "answer.json"
        told.write_bytes(msgspec.json.encode(order))
        command = [sys.executable, "-m", "onnxwright.nvidia.worker", str(told), str(answered)]
        try:
            ran = subprocess.run(  # noqa: S603 - our own module, by this very interpreter
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CrashError(f"takes longer than {seconds:g} s, and was stopped.") from None
        if ran.returncode != 0 or not answered.is_file():
            said = " ".join(ran.stderr.decode(errors="replace").split())[-_MOST_TOLD:]
            raise CrashError(f"ends its process ({reason(ran.returncode)}).{f' It said: {said}' if said else ''}")
        return msgspec.json.decode(answered.read_bytes(), type=Answer)
