import os
import platform
import resource
import socket
from pathlib import Path

import numpy as np
import pytest

from onnxwright import environment


@pytest.fixture
def plenty(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def write_unified(folder, text):
    (folder / "cpu.max").write_text(text)
    return folder


def write_legacy(folder, quota, period):
    (folder / "cpu").mkdir()
    (folder / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu" / "cpu.cfs_period_us").write_text(f"{period}\n")
    return folder


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8)],
)
@pytest.mark.usefixtures("plenty")
def test_cores_are_cut_to_the_quota_of_the_cgroup(tmp_path, quota, expected):
    assert environment.cores(write_unified(tmp_path, quota)) == expected


@pytest.mark.parametrize(("quota", "expected"), [(-1, 8), (300000, 3)])
@pytest.mark.usefixtures("plenty")
def test_cores_are_cut_to_the_quota_of_the_first_version_of_cgroups(tmp_path, quota, expected):
    assert environment.cores(write_legacy(tmp_path, quota, 100000)) == expected


@pytest.mark.usefixtures("plenty")
def test_cores_are_the_affinity_without_a_cgroup(tmp_path):
    assert environment.cores(tmp_path) == 8


def test_cores_are_never_more_than_the_affinity(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)

    assert environment.cores(write_unified(tmp_path, "400000 100000")) == 1


def test_the_description_names_versions_and_cores_but_no_host_and_no_path():
    told = environment.describe()

    assert {"python", "numpy", "onnxruntime", "system", "processor", "cores"} <= told.keys()
    assert socket.gethostname() not in str(told)
    assert os.sep not in "".join(str(value) for key, value in told.items() if key != "processor")


def test_free_memory_is_a_number_of_bytes_where_it_can_be_told():
    free = environment.free_memory()

    assert free is None or free > 2**20


def write_memory(folder, *, available_kib, limit=None, used=0, cached=0):
    (folder / "meminfo").write_text(f"MemTotal: 999 kB\nMemAvailable:   {available_kib} kB\n")
    if limit is not None:
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")
    return environment.free_memory(folder / "meminfo", folder)


@pytest.mark.parametrize(("limit", "expected"), [(None, 8192), ("max", 8192), (5000, 5000 - 3000 + 700), (20000, 8192)])
def test_free_memory_is_the_less_of_the_system_s_and_the_cgroup_s(tmp_path, limit, expected):
    assert write_memory(tmp_path, available_kib=8, limit=limit, used=3000, cached=700) == expected


def test_free_memory_is_told_of_the_first_version_of_cgroups(tmp_path):
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text("5000")
    (folder / "memory.usage_in_bytes").write_text("3000")

    assert environment.free_memory(tmp_path / "none", tmp_path) == 2000
    assert environment.free_memory(tmp_path / "none", tmp_path / "none") is None


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no way to be asked")
def test_memory_that_was_freed_is_given_back():
    def held():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    kept = [np.ones(4000) for _ in range(2000)]
    last = np.ones(4000)
    del kept
    before = held()
    environment.give_back_memory()

    assert before - held() > 20 * 2**20
    assert last.sum() == 4000


def test_the_most_memory_is_that_of_this_program(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  512 kB\n")

    assert environment.peak_memory(status) == 512 * 1024
    assert environment.peak_memory(tmp_path / "none") == 0


@pytest.mark.parametrize(
    ("instructions", "saturates"),
    [
        (("avx2",), True),
        (("avx2", "avx512_bf16"), True),
        (("avx2", "avx512_vnni"), False),
        (("avx2", "avx_vnni"), False),
        (("avx2", "amx_int8", "amx_bf16"), False),
        (("asimddp", "i8mm"), False),
        ((), False),
    ],
)
def test_processors_before_vnni_add_up_pairs_of_products_in_16_bits(instructions, saturates):
    assert environment.saturates(instructions) is saturates
    assert environment.saturates() is environment.saturates(environment.instructions())
