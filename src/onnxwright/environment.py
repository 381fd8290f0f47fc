"""The machine at hand: cores that may be used, and the versions of what runs. Only this module reads it."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import os
import platform
from collections.abc import Collection, MutableMapping
from pathlib import Path
from typing import Final

_REPORTED = (
    "torch",
    "transformers",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "numpy",
)


def at_home(path: str | Path) -> Path:
    """Returns a path in which a leading `~` stands for the home folder, as in a shell; as it is without such a home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - `Path.expanduser` raises for a home that nobody has


def cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Returns how many threads can really run at once: the CPU affinity, cut to the cgroup's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _cgroup_quota(cgroup) or allowed))


def processor() -> str:
    """Names the processor, as the operating system does."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


_INSTRUCTIONS = (
    "avx2",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
    "bf16",
)
"""What makes products of int8, and of floats of 16 bits, faster than of float32; the names are those of Linux."""


def instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Names the instructions of the processor that the speed of int8 and short floats hangs on, as far as it tells."""
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return tuple(name for name in _INSTRUCTIONS if name in flags)


_VNNI: Final = frozenset({"avx_vnni", "avx512_vnni", "amx_int8"})


def saturates(known: Collection[str] | None = None) -> bool:
    """Whether products of int8 are added up in pairs in 16 bits, which two of 255 times 127 are beyond.

    So do x86 processors with AVX2, or with AVX-512, before VNNI; `known` are the instructions, by default those here.
    """
    found = instructions() if known is None else known
    return "avx2" in found and _VNNI.isdisjoint(found)


def versions() -> dict[str, str]:
    """Returns the version of Python and of each library of interest that is installed."""
    found = {"python": platform.python_version(), "onnxwright": importlib.metadata.version("onnxwright")}
    for name in _REPORTED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, str | int]:
    """Describes the machine for a manifest: versions, system, processor, cores; never a path or a host name."""
    return {**versions(), "system": platform.system(), "processor": processor(), "cores": cores()}


def free_memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Returns the bytes of memory that can still be taken without swapping, or None where it can't be told.

    The less of what the system has left and what the cgroup still allows; its cached files can be given back.
    """
    left = [bytes_left for bytes_left in (_system_left(meminfo), _cgroup_left(cgroup)) if bytes_left is not None]
    return min(left, default=None)


def peak_memory(status: Path = Path("/proc/self/status")) -> int:
    """Returns the most bytes of memory that this program has held since it began, or 0 where it can't be told.

    What `getrusage` says counts the process from which this one was forked, too.
    """
    lines = status.read_text(encoding="ascii", errors="replace").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def give_back_memory() -> None:
    """Hands memory that was freed back to the system, where the C library knows how; it keeps much of it else."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def _system_left(meminfo: Path) -> int | None:
    lines = meminfo.read_text(encoding="ascii").splitlines() if meminfo.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _cgroup_left(cgroup: Path) -> int | None:
    for folder, limit, usage, cached in (
        (cgroup, "memory.max", "memory.current", "inactive_file"),
        (cgroup / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        if (folder / limit).exists() and (folder / usage).exists():
            most = (folder / limit).read_text(encoding="ascii").strip()
            taken = int((folder / usage).read_text(encoding="ascii"))
            return None if most == "max" else int(most) - taken + _statistic(folder / "memory.stat", cached)
    return None


def _statistic(file: Path, name: str) -> int:
    lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), 0)


def _cgroup_quota(cgroup: Path) -> int | None:
    quota, period = _read_quota(cgroup)
    return None if quota is None or quota <= 0 else max(1, quota // period)


def _read_quota(cgroup: Path) -> tuple[int | None, int]:
    unified = cgroup / "cpu.max"
    if unified.exists():
        quota, period = unified.read_text(encoding="ascii").split()
        return (None if quota == "max" else int(quota)), int(period)
    legacy = cgroup / "cpu" / "cpu.cfs_quota_us"
    if legacy.exists():
        period_file = cgroup / "cpu" / "cpu.cfs_period_us"
        return int(legacy.read_text(encoding="ascii")), int(period_file.read_text(encoding="ascii"))
    return None, 1


def process_variables() -> MutableMapping[str, str]:
    """Returns the variables of this process, which code may set."""
    return os.environ
