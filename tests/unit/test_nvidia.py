"""What runs beside a GPU, as far as it needs none: profiles, buffers, tensors that lie elsewhere, a driver's calls."""

import ctypes
from collections import Counter
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from onnxwright.artifact import PackageSession
from onnxwright.backends import Options, Ran, engines
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.dtypes import to_numpy
from onnxwright.errors import EngineError, OutOfRangeError, ProfileError, SignatureError
from onnxwright.manifest import Proof, Tolerance
from onnxwright.nvidia import providers
from onnxwright.nvidia.buffers import Buffers, blank
from onnxwright.nvidia.casting import as_declared, as_taken, declared_types
from onnxwright.nvidia.driver import Driver
from onnxwright.nvidia.growing import Growing, allocator
from onnxwright.nvidia.libraries import LIBRARIES, Library
from onnxwright.nvidia.orders import Shapes, Tensor
from onnxwright.nvidia.placed import Placed, Stream, placed
from onnxwright.nvidia.profiles import buckets, edges_of, fitting, shaped
from onnxwright.nvidia.providers import CPU, Assigned, ProviderBackend, ProviderSession, assigned, load, misplaced
from onnxwright.nvidia.session import coarsest
from onnxwright.nvidia.sized import Sized, sized
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


def test_outputs_whose_size_depends_on_values_get_memory_when_the_engine_asks():
    trt = pytest.importorskip("tensorrt_rtx")
    memory = Reserved()
    growing = Growing(Buffers(memory))
    asked = allocator(trt, growing)

    address = asked.reallocate_output_async("y", None, 24, 256, 0)
    asked.notify_shape("y", (2, 3))
    assert growing.answer("y", FLOAT) == Placed(address, (2, 3), FLOAT)
    assert asked.reallocate_output("y", address, 12, 256) == address, "large enough already"
    growing.begin()
    with pytest.raises(EngineError, match="says nothing of the size of output 'y'"):
        growing.answer("y", FLOAT)


def test_an_engine_that_gets_no_memory_is_told_so():
    growing = Growing(Buffers(Driver(Cuda(cuMemAlloc_v2=2))))

    assert growing.reserve("y", 1 << 40) == 0
    growing.tell("y", (1 << 38,))
    with pytest.raises(EngineError, match="memory is full"):
        growing.answer("y", FLOAT)


def test_arrays_are_cast_to_what_an_engine_takes_and_back():
    declared = declared_types(
        Tensor("x", "int32", (-1,), "int16"), Tensor("z", "float", (-1,)), Tensor("y", "float", (-1,), "float64")
    )
    feeds = {"x": np.array([-5, 7], np.int16), "z": np.ones(2, np.float32)}

    taken = as_taken(feeds, declared, {"x": np.dtype(np.int32), "z": FLOAT})
    assert (taken["x"].dtype, taken["x"].tolist(), taken["z"] is feeds["z"]) == (np.int32, [-5, 7], True)
    given = as_declared({"y": np.ones(2, np.float32), "w": np.ones(1, np.int64)}, declared)
    assert (given["y"].dtype, given["w"].dtype) == (np.float64, np.int64)
    with pytest.raises(SignatureError, match="input 'x': expected int16, got int32"):
        as_taken({"x": taken["x"]}, declared, {"x": np.dtype(np.int32)})
    wrapped = as_declared({"y": np.array([70000], np.int32)}, declared_types(Tensor("y", "int32", (-1,), "int16")))
    assert wrapped["y"].tolist() == [4464], "as ONNX casts whole numbers"


FLOAT = np.dtype(np.float32)


def test_a_tensor_on_a_gpu_is_read_where_it_lies():
    given = Placed(4096, (2, 3), FLOAT)

    assert placed("x", given, FLOAT) == given
    assert given.nbytes == 24
    assert not hasattr(given, "__array_interface__"), "numpy would read the address as one of main memory"
    with pytest.raises(SignatureError, match="expected int64, got float32 on the GPU"):
        placed("x", given, np.dtype(np.int64))


@pytest.mark.parametrize(("strides", "is_taken"), [(None, True), ((12, 4), True), ((4, 8), False)])
def test_a_tensor_that_is_not_contiguous_is_refused(strides, is_taken):
    given = on_gpu(strides=strides)

    if is_taken:
        assert placed("x", given, FLOAT).address == 64
        return
    with pytest.raises(SignatureError, match="contiguous"):
        placed("x", given, FLOAT)


def on_gpu(**told):
    told = {"shape": (2, 3), "typestr": "<f4", "data": (64, False), "strides": None, "version": 3, **told}
    return SimpleNamespace(__cuda_array_interface__=told)


@pytest.mark.parametrize(
    ("told", "calls"),
    [
        ({"stream": 7}, ["cuStreamSynchronize"]),
        ({"stream": None}, []),
        ({}, []),
        ({"version": 2}, ["cuCtxSynchronize"]),
    ],
)
def test_what_computes_a_tensor_on_a_gpu_is_awaited(told, calls):
    cuda = Cuda()

    placed("x", on_gpu(**told), FLOAT, Stream(Driver(cuda), 5))

    assert cuda.called[2:] == calls


class Lent:
    """A tensor of PyTorch's on the CPU, or said to lie elsewhere, that notes for which stream it is asked."""

    def __init__(self, device=(2, 0)):
        self.device, self.asked = device, []
        self.tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **asked):
        self.asked.append(asked)
        return self.tensor.__dlpack__()


def test_the_owner_of_a_tensor_is_told_on_which_stream_it_is_read():
    lent, cuda = Lent(), Cuda()

    found = placed("x", lent, FLOAT, Stream(Driver(cuda), 5))

    assert lent.asked == [{"stream": 5}], "its owner has that stream wait"
    assert (found.address, found.shape, found.device) == (lent.tensor.data_ptr(), (2, 3), "cuda")
    with pytest.raises(SignatureError, match="expected a tensor on the first GPU"):
        placed("x", Lent((2, 1)), FLOAT)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "int8", "bool"])
def test_a_tensor_of_pytorch_is_read_by_dlpack_where_it_lies(dtype):
    tensor = torch.arange(12).to(getattr(torch, dtype)).reshape(3, 4)[1:]

    found = placed("x", tensor, to_numpy(dtype))

    assert (found.address, found.shape, found.device) == (tensor.data_ptr(), (2, 4), "cpu")
    assert np.array_equal(np.asarray(found).view(found.dtype), tensor.to(torch.float32).numpy().astype(found.dtype))
    with pytest.raises(SignatureError, match="contiguous"):
        placed("x", tensor.T, to_numpy(dtype))


def test_an_array_is_read_where_it_lies_and_a_scalar_stays_one():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)

    assert placed("x", array, FLOAT).address == array.ctypes.data
    assert np.array_equal(np.asarray(placed("x", array.T, FLOAT)), array.T)
    assert placed("x", np.array(2.5, np.float32), FLOAT).shape == ()


def test_what_can_not_be_read_where_it_lies_is_told():
    with pytest.raises(SignatureError, match="expected an array, or a tensor with DLPack"):
        placed("x", [1.0], FLOAT)
    with pytest.raises(SignatureError, match="its owner doesn't lend it"):
        placed("x", torch.ones(2, requires_grad=True), FLOAT)
    with pytest.raises(SignatureError, match="no twin in numpy"):
        placed("x", torch.ones(2, dtype=torch.complex64), FLOAT)


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
    assert assigned(load(product, CPU, Options(1))) == [Assigned(CPU, "MatMul", ""), Assigned(CPU, "Softmax", "")]


def test_what_is_left_to_the_cpu_is_misplaced_unless_it_is_of_sizes():
    cuda = "CUDAExecutionProvider"
    found = [
        Assigned(cuda, "MatMul", "product"),
        Assigned(CPU, "Add", "one longer"),
        Assigned(CPU, "Add", "sum"),
        Assigned(CPU, "NonMaxSuppression", ""),
        Assigned(CPU, "Shape", ""),
        Assigned(CPU, "Add", "made by ONNX Runtime"),
        Assigned(CPU, "FusedMatMul", "made by ONNX Runtime, too"),
        Assigned(CPU, "MemcpyToHost", "Memcpy_token_1"),
    ]
    sizes = Sized(frozenset({"one longer"}), frozenset({"Add", "Shape"}), frozenset({"sum", "product"}))

    assert misplaced(found, cuda, sizes) == Counter(Add=1, NonMaxSuppression=1, FusedMatMul=1)
    assert misplaced(found, CPU, sizes) == Counter(MatMul=1)


SIZES = """<ir_version: 9, opset_import: ["" : 18]>
g (float[n, m] x, int64[1] at, bool[1] c) => (float[k, m] y) <int64[1] one = {1}, int64 trips = {2}, bool go = {1}> {
    [n] n = Shape <end: int = 1> (x)
    [twice] twice = Add (n, n)
    [few] few = LessOrEqual (n, one)
    [branch] size = If (few) <then_branch = a () => (int64[1] p) { [inner] p = Mul (twice, one) },
                              else_branch = b () => (int64[1] q) { [kept] q = Identity (n) }>
    [round] last = Loop (trips, go, size) <body = r (int64 i, bool d, int64[1] s) => (bool e, int64[1] t) {
        [again] e = Identity (d) [grown] t = Add (s, one) }>
    [moved] moved = Add (at, one)
    [asked] other = If (c) <then_branch = a2 () => (int64[1] p2) { [drawn] p2 = Add (moved, n) },
                             else_branch = b2 () => (int64[1] q2) { [held] q2 = Add (n, last) }>
    [part] z = Slice (x, one, other)
    [long] l = Shape <end: int = 1> (z)
    [filled] f = ConstantOfShape (l)
    [out] y = Add (z, f)
}"""


def test_nodes_of_sizes_read_nothing_but_shapes_and_constants(tmp_path):
    onnx.save(onnx.parser.parse_model(SIZES), tmp_path / "model.onnx")

    found = sized(tmp_path / "model.onnx")

    assert found.names == {
        "n",
        "twice",
        "few",
        "branch",
        "inner",
        "kept",
        "round",
        "again",
        "grown",
        "held",
        "long",
        "filled",
    }
    assert found.others == {"moved", "asked", "drawn", "part", "out"}
    assert {"If", "Loop", "LessOrEqual"} < found.operators
    assert "Slice" not in found.operators


def test_a_file_that_holds_no_graph_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x0a")

    with pytest.raises(ValueError, match="no graph in it"):
        sized(tmp_path / "model.onnx")


def test_a_session_by_a_provider_answers_and_says_how_many_nodes_ran_where(product):
    x = np.array([[1, 2], [3, -4]], np.float32)
    session = ProviderSession(product, CPU, Options(1))

    np.testing.assert_allclose(session.run({"x": x})["y"], softmax(x), rtol=1e-5)
    assert session.ran.provider == f"{CPU} 2 nodes"
    with pytest.raises(EngineError, match="refuses these inputs"):
        session.run({"z": x})


def softmax(x):
    powers = np.exp(x @ np.array([[1, 2], [3, 4]], np.float32))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("make", [np.array, torch.tensor, torch.asarray])
def test_tensors_are_bound_where_they_lie_and_answers_stay_where_they_are(product, make, monkeypatch):
    x = make([[1, 2], [3, -4]], dtype=np.float32 if make is np.array else torch.float32)
    session = ProviderSession(product, CPU, Options(1))

    first = session.run_on_device({"x": x})["y"]
    second = session.run_on_device({"x": 2 * x})["y"]

    np.testing.assert_allclose(np.asarray(first), softmax(np.asarray(x)), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(second), softmax(2 * np.asarray(x)), rtol=1e-5)
    assert np.asarray(first).ctypes.data == first.address == first.keeper.data_ptr()
    again = session.run_on_device({"x": first})["y"]
    np.testing.assert_allclose(np.asarray(again), softmax(np.asarray(first)), rtol=1e-5)


def test_nothing_is_copied_on_the_way_into_a_graph(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 18]> g (float[n] x) => (float[n] y) { y = Identity (x) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
    x = np.zeros(1 << 22, np.float32)
    session = ProviderSession(tmp_path / "model.onnx", CPU, Options(1))
    read = placed("x", x, FLOAT)

    x[:] = 3
    assert np.asarray(read)[-1] == 3, "the same memory"
    assert np.asarray(session.run_on_device({"x": read})["y"])[-1] == 3


def test_tensors_that_do_not_fit_a_graph_are_refused(product):
    session = ProviderSession(product, CPU, Options(1))

    with pytest.raises(SignatureError, match="expected float32, got float64"):
        session.run_on_device({"x": np.zeros((2, 2))})
    with pytest.raises(EngineError, match="expected inputs x, got z"):
        session.run_on_device({"z": np.zeros((2, 2), np.float32)})
    with pytest.raises(EngineError, match="refuses these inputs"):
        session.run_on_device({"x": np.zeros((2, 3), np.float32)})


def test_a_package_holds_tensors_on_a_device_to_its_range_too(product):
    spec = TensorSpec("x", "float32", ("n", 2))
    signature = Signature((spec,), (TensorSpec("y", "float32", ("n", 2)),))
    proof = Proof("proven", {"n": (1, 3)}, 1, None, Tolerance("exact", {}, {}, "a test"), "none", "none")
    session = PackageSession(ProviderSession(product, CPU, Options(1)), signature, proof)

    assert session.run_on_device({"x": torch.ones(3, 2)})["y"].shape == (3, 2)
    with pytest.raises(OutOfRangeError, match="proven for 1 to 3"):
        session.run_on_device({"x": torch.ones(4, 2)})
    with pytest.raises(SignatureError, match=r"expected float32\[n, 2\], got float16\[3, 2\]"):
        session.run_on_device({"x": torch.ones(3, 2, dtype=torch.float16)})
    with pytest.raises(SignatureError, match="got list"):
        session.run_on_device({"x": [[1.0, 2.0]]})
    plain = PackageSession(OnnxRuntimeSession(product, Options(1)), signature, proof)
    with pytest.raises(EngineError, match="Use `run`"):
        plain.run_on_device({"x": torch.ones(3, 2)})


def test_what_would_run_elsewhere_is_an_error_unless_it_is_allowed(product, monkeypatch):
    elsewhere = [Assigned(CPU, "MatMul", ""), Assigned(CPU, "Shape", "of x"), Assigned(CPU, "MemcpyToHost", "")]
    monkeypatch.setattr(providers, "load", lambda file, _, options: load(file, CPU, options))
    monkeypatch.setattr(providers, "assigned", lambda _: elsewhere)
    monkeypatch.setattr(providers, "sized", lambda _: Sized(frozenset({"of x"}), frozenset(), frozenset()))
    monkeypatch.setattr(providers, "_new_stream", lambda: Stream(Driver(Cuda()), 5))

    with pytest.raises(EngineError, match=r"1 MatMul would run elsewhere\. Allow that with --allow-fallback"):
        ProviderSession(product, "CUDAExecutionProvider", Options(1))
    allowed = ProviderSession(product, "CUDAExecutionProvider", Options(1, allows_fallback=True))
    assert allowed.ran.provider == f"{CPU} 3 nodes", "and it says so"


def test_a_library_of_nvidia_that_a_provider_needs_and_is_missing_is_told(tmp_path, monkeypatch):
    import onnxruntime

    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libprovider.so").write_bytes(
        b"\0libm.so.6\0libnvinfer_nobody.so.99\0libnvinfer_nobody.so.99\0"
    )
    monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["Provider", CPU])
    monkeypatch.setattr(providers, "missing_driver", lambda: None)

    told = ProviderBackend("engine", "Provider", library="libprovider.so").available()

    assert told.startswith("libprovider.so needs libnvinfer_nobody.so.99, which can't be opened here (")
    assert ProviderBackend("engine", "Provider", library="libother.so").available() is None
    assert ProviderBackend("engine", "Provider").available() is None


def test_float32_is_not_rounded_to_tf32(product, monkeypatch):
    import onnxruntime

    told = {}
    made = onnxruntime.InferenceSession

    def note(file, settings, providers, provider_options):
        told.update(zip(providers, provider_options, strict=True))
        return made(file, settings, providers=[CPU])

    monkeypatch.setattr(onnxruntime, "InferenceSession", note)
    with pytest.raises(EngineError, match="has left CUDAExecutionProvider out"):
        load(product, "CUDAExecutionProvider", Options(1))

    assert told == {"CUDAExecutionProvider": {"use_tf32": "0"}, CPU: {}}


def test_a_provider_that_is_not_there_is_no_silent_cpu(product):
    reason = engines()["onnxruntime-cuda"].available()
    if reason is None:
        pytest.skip("there is a GPU")

    assert "CUDAExecutionProvider" in reason
    with pytest.raises(EngineError, match="has left CUDAExecutionProvider out"):
        load(product, "CUDAExecutionProvider", Options(1))
