"""A step runs in a process of its own, which can neither hang this one nor bring it down."""

import os
import signal
import time

import pytest
import torch

from onnxwright.errors import RouteError, UsageError
from onnxwright.isolation import can_isolate, isolated

pytestmark = pytest.mark.skipif(not can_isolate(), reason="this system can't fork a process")


def test_answers_what_the_step_answers():
    assert isolated(lambda: {"x": [1, 2]}, seconds=30) == {"x": [1, 2]}


def test_what_the_step_changes_stays_in_its_process():
    module = torch.nn.Linear(2, 2)

    isolated(module.weight.data.zero_, seconds=30)

    assert module.weight.abs().sum() > 0


def test_nothing_is_forked_where_pytorch_uses_a_gpu(monkeypatch):
    assert can_isolate()

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)

    assert not can_isolate()


def test_what_the_step_raises_is_raised_with_its_findings():
    def fail():
        raise RouteError("no way", findings=("one",))

    with pytest.raises(RouteError, match="no way") as raised:
        isolated(fail, seconds=30)
    assert raised.value.findings == ("one",)


def test_another_error_of_ours_keeps_its_type():
    def fail():
        raise UsageError("not so")

    with pytest.raises(UsageError, match="not so"):
        isolated(fail, seconds=30)


def test_what_is_no_error_of_ours_names_its_type():
    with pytest.raises(RouteError, match="ZeroDivisionError: division by zero"):
        isolated(lambda: 1 / 0, seconds=30)


def test_a_step_that_hangs_is_stopped():
    begun = time.monotonic()

    with pytest.raises(RouteError, match="takes longer than 1 s, and was stopped"):
        isolated(lambda: time.sleep(600), seconds=1)
    assert time.monotonic() - begun < 60


def test_a_crash_is_an_error_that_names_the_signal():
    with pytest.raises(RouteError, match="signal SIGSEGV"):
        isolated(lambda: os.kill(os.getpid(), signal.SIGSEGV), seconds=30)


def test_a_full_disk_stays_a_full_disk():
    def fail():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        isolated(fail, seconds=30)
