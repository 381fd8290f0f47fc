"""What runs beside a GPU, as far as it needs none: profiles, buffers, tensors that lie elsewhere, a driver's calls."""

import ctypes
from collections import Counter
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from onnxwright.backends import Options, Ran, engines
from onnxwright.errors import EngineError, OutOfRangeError, ProfileError, SignatureError
from onnxwright.nvidia.buffers import Buffers, OnDevice, blank, is_on_device, on_device
from onnxwright.nvidia.driver import Driver
from onnxwright.nvidia.libraries import LIBRARIES, Library
from onnxwright.nvidia.orders import Shapes
from onnxwright.nvidia.profiles import buckets, edges_of, fitting, shaped
from onnxwright.nvidia.providers import CPU, ProviderSession, load, misplaced, placed
from onnxwright.nvidia.session import coarsest
from onnxwright.profile import Profile
from onnxwright.signature import Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("ids", "int64", ("batch", "sequence")), TensorSpec("table", "float32", (3, 4))),
    (TensorSpec("y", "float32", ("batch",)),),
)
PROFILE = Profile(batch=(1, 8, 32), sequence=(1, 128, 512))


def test_inputs_with_dims_have_shapes_and_others_need_none():
    assert shaped(SIGNATURE, PROFILE) == {"ids": Shapes((1, 1), (8, 128), (32, 512))}


def test_a_call_goes_to_the_smallest_profile_that_holds_it():
    profiles = [shaped(SIGNATURE, one) for one in buckets(PROFILE, "sequence", [64, 256])]

    places = [fitting(profiles, {"ids": (4, size), "table": (3, 4)}) for size in (1, 64, 65, 256, 257, 512)]

    assert places == [0, 0, 1, 1, 2, 2]
    with pytest.raises(OutOfRangeError, match="no profile for them"):
        fitting(profiles, {"ids": (4, 513), "table": (3, 4)})
    with pytest.raises(OutOfRangeError):
        fitting(profiles, {"ids": (4,), "table": (3, 4)})


def test_of_two_profiles_that_hold_a_call_the_smaller_one_is_taken():
    wide, narrow = shaped(SIGNATURE, PROFILE), shaped(SIGNATURE, Profile(batch=(1, 1, 32), sequence=(1, 64, 64)))

    assert fitting([wide, narrow], {"ids": (2, 10), "table": (3, 4)}) == 1


@pytest.mark.parametrize("edges", [[256, 64], [64, 64], [0], [600]])
def test_buckets_that_do_not_rise_within_the_range_are_refused(edges):
    with pytest.raises(ProfileError, match="rising sizes from 1 to 512"):
        buckets(PROFILE, "sequence", edges)


def test_buckets_leave_no_size_out():
    parts = [one["sequence"] for one in buckets(PROFILE, "sequence", [10, 11, 512])]

    assert [size for one in parts for size in range(one.least, one.most + 1)] == list(range(1, 513))


def test_edges_share_lengths_out_equally():
    assert edges_of([5, 1, 9, 2, 8, 3], 3) == [2, 5, 9]
    assert edges_of([7, 7, 7]) == [7]
    with pytest.raises(ProfileError, match="lengths"):
        edges_of([])


class Reserved:
    """Memory that counts what is reserved and given back."""

    def __init__(self):
        self.held = {}
        self.next = 1

    def reserve(self, size):
        self.held[self.next] = size
        self.next += 1
        return self.next - 1

    def give_back(self, address):
        del self.held[address]


def test_buffers_are_kept_until_they_are_too_small():
    memory = Reserved()
    held = Buffers(memory)

    first = held.of("x", 100)
    assert held.of("x", 60) == first
    assert held.of("y", 0) != first
    larger = held.of("x", 101)
    assert larger != first
    assert sorted(memory.held.values()) == [1, 101]
    held.clear()
    assert memory.held == {}


def test_a_tensor_on_a_gpu_is_read_where_it_lies():
    given = OnDevice(4096, (2, 3), np.dtype(np.float32))

    assert is_on_device(given)
    assert not is_on_device(np.zeros(3))
    assert on_device("x", given, np.dtype(np.float32)) == given
    assert given.nbytes == 24
    with pytest.raises(SignatureError, match="expected int64, got float32 on the GPU"):
        on_device("x", given, np.dtype(np.int64))


@pytest.mark.parametrize(("strides", "is_taken"), [(None, True), ((12, 4), True), ((4, 8), False)])
def test_a_tensor_that_is_not_contiguous_is_refused(strides, is_taken):
    told = {"shape": (2, 3), "typestr": "<f4", "data": (64, False), "strides": strides}
    given = SimpleNamespace(__cuda_array_interface__=told)

    if is_taken:
        assert on_device("x", given, np.dtype(np.float32)).address == 64
        return
    with pytest.raises(SignatureError, match="contiguous"):
        on_device("x", given, np.dtype(np.float32))


def test_zeros_and_nan_are_called_by_name():
    answers = {
        "zeros": np.zeros((2, 2), np.float32),
        "nan": np.array([1, np.nan], np.float16),
        "right": np.array([0, 1], np.float32),
        "none": np.zeros((0, 3), np.float32),
        "whole": np.zeros(3, np.int64),
    }

    assert blank(answers) == {"zeros": "is all zero", "nan": "holds NaN", "whole": "is all zero"}


class Cuda:
    """A driver's C interface, with functions that say what they were given and answer a code."""

    def __init__(self, **codes):
        self.codes = codes
        self.called = []

    def __getattr__(self, name):
        def call(*arguments):
            self.called.append(name)
            if name == "cuMemAlloc_v2" and not self.codes.get(name):
                ctypes.cast(arguments[0], ctypes.POINTER(ctypes.c_uint64))[0] = 77
            return self.codes.get(name, 0)

        return call


def test_the_driver_is_called_by_its_c_interface():
    cuda = Cuda()
    driver = Driver(cuda)

    assert driver.reserve(10) == 77
    driver.enter()
    driver.to_device(77, 1, 10, 0)
    driver.to_host(1, 77, 10, 0)
    driver.wait(0)
    driver.give_back(77)
    assert cuda.called[:3] == ["cuInit", "cuDeviceGet", "cuMemAlloc_v2"]
    assert cuda.called[-4:] == ["cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize", "cuMemFree_v2"]


def test_a_driver_that_refuses_is_told_with_its_code():
    driver = Driver(Cuda(cuMemAlloc_v2=2))

    with pytest.raises(EngineError, match=r"refuses cuMemAlloc with code 2\. The GPU's memory is full"):
        driver.reserve(1 << 40)


def test_a_library_that_is_missing_is_told_with_its_extra():
    library = Library("tensorrt", "a_module_that_nobody_has", builds_without_gpu=False, least_compute=(7, 5))

    assert "onnxwright[tensorrt]" in str(library.missing())
    assert library.unfit() == library.unbuildable() == library.missing()
    with pytest.raises(EngineError, match="is not available"):
        library.load()


def test_a_gpu_that_is_too_old_is_told():
    assert "compute capability 6.1, and tensorrt-rtx needs 7.5" in str(LIBRARIES["tensorrt-rtx"]._unfit_gpu((6, 1)))
    assert LIBRARIES["tensorrt-rtx"]._unfit_gpu((8, 9)) is None


def test_an_engine_is_called_by_the_coarsest_type_of_its_weights():
    assert coarsest({"float32": 10, "int8": 90}) == "int8"
    assert coarsest({"float16": 3, "float32": 1}) == "float16"
    assert coarsest({"int64": 3}) == "float32"
    assert isinstance(Ran("tensorrt", "11", "GPU", coarsest({}), 1), Ran)


@pytest.fixture
def product(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (float[n, 2] x) => (float[n, 2] y) <float[2, 2] w = {1, 2, 3, 4}> { h = MatMul (x, w) y = Softmax (h) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_what_runs_where_is_what_onnx_runtime_says_of_each_node(product):
    assert placed(load(product, CPU, Options(1))) == {CPU: Counter({"MatMul": 1, "Softmax": 1})}


def test_what_is_left_to_the_cpu_is_misplaced_unless_it_is_of_sizes():
    found = {"CUDAExecutionProvider": Counter(MatMul=9), CPU: Counter(Shape=3, Gather=2, NonMaxSuppression=1)}

    assert misplaced(found, "CUDAExecutionProvider") == Counter(NonMaxSuppression=1)
    assert misplaced({CPU: Counter(MatMul=2)}, "CUDAExecutionProvider") == Counter(MatMul=2)
    assert misplaced(found, CPU) == Counter(MatMul=9)


def test_a_session_by_a_provider_answers_and_says_how_many_nodes_ran_where(product):
    x = np.array([[1, 2], [3, -4]], np.float32)
    session = ProviderSession(product, CPU, Options(1))

    powers = np.exp(x @ np.array([[1, 2], [3, 4]], np.float32))
    np.testing.assert_allclose(session.run({"x": x})["y"], powers / powers.sum(1, keepdims=True), rtol=1e-5)
    assert session.ran.provider == f"{CPU} 2 nodes"
    with pytest.raises(EngineError, match="refuses these inputs"):
        session.run({"z": x})


def test_a_provider_that_is_not_there_is_no_silent_cpu(product):
    reason = engines()["onnxruntime-cuda"].available()
    if reason is None:
        pytest.skip("there is a GPU")

    assert "CUDAExecutionProvider" in reason
    with pytest.raises(EngineError, match="has left CUDAExecutionProvider out"):
        load(product, "CUDAExecutionProvider", Options(1))
