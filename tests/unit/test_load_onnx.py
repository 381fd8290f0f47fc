"""Loading `.onnx` files: the signature as the graph declares it, and the sizes that it takes."""

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxwright.errors import ForwardError, ProfileError, SourceError, UsageError
from onnxwright.loaders.onnxfile import read
from onnxwright.profile import Profile
from onnxwright.samples import Bools, Floats, Integers, Mask
from onnxwright.stages.load import load

LINEAR = """
<ir_version: {ir}, opset_import: ["" : 17]>
linear (float[{batch}, 3] x{also}) => (float[{batch}, 2] y)
<float[3, 2] w = {{1, 2, 3, 4, 5, 6}}> {{ y = MatMul (x, w) }}
"""


@pytest.fixture
def write(tmp_path):
    """Writes a graph given as text; returns its file."""

    def write_graph(text, name="model.onnx"):
        file = tmp_path / name
        file.write_bytes(onnx.parser.parse_model(text).SerializeToString())
        return file

    return write_graph


def linear(batch="batch", ir=8, also=""):
    return LINEAR.format(batch=batch, ir=ir, also=also)


def save_split(file, location):
    """Writes a graph with its weight beside it."""
    model = onnx.parser.parse_model(linear())
    weight = onnx.numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    model.graph.initializer[0].CopyFrom(weight)  # as raw data, which alone can lie elsewhere
    onnx.save(model, file, save_as_external_data=True, location=location, size_threshold=0)


def dims_of(source):
    return {spec.name: str(spec) for spec in (*source.signature.inputs, *source.signature.outputs)}


def table(rows, width, name):
    values = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    return onnx.numpy_helper.from_array(values, name)


@pytest.fixture
def embedding(tmp_path):
    """A graph with a vocabulary of 50 and a table of 20 positions."""
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        embedding (int64[batch, seq] ids, int64[batch, seq] attention_mask, bool[batch, 1] keep, float scale)
            => (float[batch, seq, 4] states) {
            flat = Cast <to = 7> (ids)
            rows = Gather (words, flat)
            length = Shape <start = 1, end = 2> (ids)
            zero = Constant <value = int64 {0}> ()
            scalar = Squeeze (length)
            step = Constant <value = int64 {1}> ()
            order = Range (zero, scalar, step)
            placed = Gather (positions, order)
            both = Add (rows, placed)
            mask = Cast <to = 1> (attention_mask)
            last = Constant <value = int64[1] {-1}> ()
            column = Unsqueeze (mask, last)
            masked = Mul (both, column)
            kept = Cast <to = 1> (keep)
            wide = Unsqueeze (kept, last)
            some = Mul (masked, wide)
            states = Mul (some, scale)
        }
        """
    )
    model.graph.initializer.extend([table(50, 4, "words"), table(20, 4, "positions")])
    file = tmp_path / "embedding.onnx"
    onnx.save(model, file)
    return file


class TestSignature:
    def test_is_the_graphs_own(self, write):
        source = load(write(linear()))
        assert dims_of(source) == {"x": "float32[batch, 3]", "y": "float32[batch, 2]"}
        assert (source.name, source.module, source.task) == ("model.onnx", None, None)

    def test_of_dims_without_a_name_has_one_for_each(self, write):
        assert dims_of(load(write(linear(batch="?")))) == {"x": "float32[x_0, 3]", "y": "float32[y_0, 2]"}

    def test_of_fixed_dims_has_no_range(self, write):
        source = load(write(linear(batch="5")))
        assert dims_of(source)["x"] == "float32[5, 3]"
        assert source.profile == Profile()

    def test_has_no_initializers_that_older_files_list_as_inputs(self, write):
        model = onnx.parser.parse_model(linear(ir=3))
        model.graph.input.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [3, 2]))
        file = write(linear())
        file.write_bytes(model.SerializeToString())
        assert load(file).signature.input_names == ("x",)

    def test_may_have_its_weights_beside_it(self, tmp_path):
        save_split(tmp_path / "model.onnx", "model.onnx.data")
        assert dims_of(load(tmp_path / "model.onnx"))["x"] == "float32[batch, 3]"
        (tmp_path / "model.onnx.data").unlink()
        with pytest.raises(SourceError, match=r"external data 'model.onnx.data' is missing"):
            load(tmp_path / "model.onnx")


class TestSamples:
    def test_mean_what_the_graph_does_with_them(self, embedding):
        meanings = load(embedding).sampler.meanings
        assert meanings["ids"] == Integers("int64", 0, 49)
        assert meanings["attention_mask"] == Mask("int64")
        assert meanings["keep"] == Bools()
        assert isinstance(meanings["scale"], Floats)

    def test_are_whole_numbers_as_large_as_the_graph_takes_them(self, tmp_path):
        text = """<ir_version: 9, opset_import: ["" : 18]>
            g (uint8[n] image, int64[n] lengths, int64[n] ids, int64[n] few) => (int64[n] y, float[n] z)
            <int64 one = {1}> { a = Cast <to = 7> (image) b = Add (a, lengths) y = Identity (b)
              c = Add (ids, one) d = Gather (table, c) e = Gather (short, few) z = Add (d, e) }"""
        model = onnx.parser.parse_model(text)
        rows = {"table": np.zeros(16, np.float32), "short": np.zeros(5, np.float32)}
        model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in rows.items())
        onnx.save(model, tmp_path / "whole.onnx")

        source = load(tmp_path / "whole.onnx")

        spans = {name: (one.least, one.most) for name, one in source.sampler.meanings.items()}
        assert spans == {"image": (0, 255), "lengths": (0, 31), "ids": (0, 7), "few": (0, 4)}
        assert source.details["whole numbers"] == spans


class TestRanges:
    def test_end_where_the_graph_refuses(self, embedding):
        source = load(embedding)
        assert source.profile == Profile(batch=(1, 8, 32), seq=(1, 20, 20))
        assert source.traced["seq"] <= 20

    def test_are_the_callers(self, embedding):
        assert load(embedding, ranges={"seq": (1, 8, 64)}).profile["seq"] == (1, 8, 64)
        with pytest.raises(ProfileError, match="range for dim 'height': the model has no such dim; it has batch, seq"):
            load(embedding, ranges={"height": (1, 2, 3)})

    def test_are_found_from_the_least_where_nothing_else_runs(self, write):
        text = """
        <ir_version: 8, opset_import: ["" : 17]>
        one (float[batch, 3] x) => (float[1, 3] y) {
            shape = Constant <value = int64[2] {1, 3}> ()
            y = Reshape (x, shape)
        }
        """
        source = load(write(text))
        assert source.profile == Profile(batch=(1, 1, 1))
        assert source.traced == {"batch": 1}


class TestDamaged:
    @pytest.mark.parametrize("content", [b"", b"abc", b"\x00" * 64])
    def test_files_are_refused(self, tmp_path, content):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(SourceError, match=r"bad.onnx' is not a valid ONNX model"):
            load(tmp_path / "bad.onnx")

    def test_files_that_are_cut_off_are_refused(self, embedding):
        whole = embedding.read_bytes()
        for size in (len(whole) // 2, len(whole) - 1):
            embedding.write_bytes(whole[:size])
            with pytest.raises(SourceError, match="is not a valid ONNX model"):
                load(embedding)

    def test_what_is_no_file_is_told_apart(self, tmp_path):
        with pytest.raises(SourceError, match=r"expected an .onnx file, got a folder"):
            read(tmp_path)
        with pytest.raises(SourceError, match=r"expected an .onnx file, no such file"):
            read(tmp_path / "missing.onnx")

    def test_folders_are_refused(self, tmp_path):
        (tmp_path / "folder.onnx").mkdir()
        with pytest.raises(SourceError, match=r"folder.onnx': is a folder, not a file"):
            load(tmp_path / "folder.onnx")

    @pytest.mark.parametrize(
        ("location", "words"),
        [
            ("gone.data", r"external data 'gone.data' is missing beside it"),
            ("../outside.data", r"external data '../outside.data' lies outside its folder"),
            ("/etc/hostname", r"external data '/etc/hostname' lies outside its folder"),
            ("sub/../short.data", r"external data 'sub/../short.data' lies outside its folder"),
            ("out.data", r"external data 'out.data' lies outside its folder. Put the file itself there"),
            ("hard.data", r"external data 'hard.data' is a hard link.*Put a copy"),
            ("short.data", r"weight 'w': expected up to byte 24 of 'short.data', which has 8. Copy it again"),
        ],
    )
    def test_external_data_stays_inside_the_folder(self, tmp_path, location, words):
        (tmp_path / "outside.data").write_bytes(b"\x00" * 64)
        model = onnx.parser.parse_model(linear())
        (tmp_path / "inner" / "sub").mkdir(parents=True)
        (tmp_path / "inner" / "short.data").write_bytes(b"\x00" * 8)
        (tmp_path / "inner" / "out.data").symlink_to(tmp_path / "outside.data")
        (tmp_path / "inner" / "hard.data").hardlink_to(tmp_path / "outside.data")
        file = tmp_path / "inner" / "model.onnx"
        (weight,) = model.graph.initializer
        weight.raw_data = b"\x00" * 24
        del weight.float_data[:]
        onnx.external_data_helper.set_external_data(weight, location)
        weight.ClearField("raw_data")
        file.write_bytes(model.SerializeToString())
        with pytest.raises(SourceError, match=words):
            load(file)

    def test_external_data_of_a_branch_stays_inside_too(self, tmp_path):
        text = """
        <ir_version: 8, opset_import: ["" : 17]>
        branch (float[n] x, bool b) => (float[n] y) {
            y = If (b) <then_branch = t () => (float[n] p) <float[1] v = {3}> { p = Mul (x, v) },
                        else_branch = e () => (float[n] q) { q = Neg (x) }>
        }
        """
        model = onnx.parser.parse_model(text)
        (weight,) = model.graph.node[0].attribute[0].g.initializer
        weight.raw_data = b"\x00" * 4
        onnx.external_data_helper.set_external_data(weight, "../outside.data")
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(SourceError, match=r"external data '../outside.data' lies outside its folder"):
            load(tmp_path / "model.onnx")

    @pytest.mark.parametrize("inside", ["a branch", "a function"])
    def test_external_data_of_what_is_inside_is_found_from_anywhere(self, inside, tmp_path, monkeypatch):
        held = """c = Constant <value = bool {1}> ()
            y = If (c) <then_branch = t () => (float[n] p) { w = Constant <value = float[2] {2, 3}> () p = Mul (x, w) },
                        else_branch = e () => (float[n] q) { q = Neg (x) }>"""
        body = held if inside == "a branch" else "y = own.F (x)"
        function = """<domain: "own", opset_import: ["" : 18]>
            F (a) => (b) { w = Constant <value = float[2] {2, 3}> () b = Mul (a, w) }"""
        head = '<ir_version: 9, opset_import: ["" : 18, "own" : 1]>'
        model = onnx.parser.parse_model(f"{head} g (float[n] x) => (float[n] y) {{ {body} }} {function}")
        nodes = model.graph.node[1].attribute[0].g.node if inside == "a branch" else model.functions[0].node
        tensor = nodes[0].attribute[0].t
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([2, 3], np.float32), "w"))
        (tmp_path / "w.data").write_bytes(tensor.raw_data)
        onnx.external_data_helper.set_external_data(tensor, "w.data")
        tensor.ClearField("raw_data")
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")

        file = tmp_path / "model.onnx"
        assert dims_of(load(file, ranges={"n": (2, 2, 2)}))["x"] == "float32[n]"
        graphs = [*read(file).graphs(), *read(file).functions.values()]
        held = [
            one.as_tensor().numpy()
            for graph in graphs
            for node in graph
            for one in node.attributes.values()
            if one.type.name == "TENSOR" and one.as_tensor().size == 2
        ]
        assert [one.tolist() for one in held] == [[2.0, 3.0]] * (1 if inside == "a function" else 2)

    def test_a_link_to_the_graph_finds_its_data_beside_the_link(self, tmp_path):
        (tmp_path / "blobs").mkdir()
        (tmp_path / "linked").mkdir()
        save_split(tmp_path / "blobs" / "abc", "w.data")
        (tmp_path / "blobs" / "w.data").rename(tmp_path / "linked" / "w.data")
        (tmp_path / "linked" / "model.onnx").symlink_to(tmp_path / "blobs" / "abc")
        assert dims_of(load(tmp_path / "linked" / "model.onnx"))["x"] == "float32[batch, 3]"

    def test_graphs_that_no_runtime_takes_are_the_models_fault(self, write):
        text = """
        <ir_version: 8, opset_import: ["" : 17, "nowhere" : 1]>
        own (float[batch, 3] x) => (float[batch, 3] y) { y = nowhere.Magic (x) }
        """
        with pytest.raises(ForwardError, match="the graph itself can't be run: ONNX Runtime refuses"):
            load(write(text))

    def test_graphs_that_run_at_no_size_are_the_models_fault(self, write):
        text = """
        <ir_version: 8, opset_import: ["" : 17]>
        never (float[batch, 3] x) => (float[7, 5] y) {
            shape = Constant <value = int64[2] {7, 5}> ()
            y = Reshape (x, shape)
        }
        """
        with pytest.raises(ForwardError, match="ONNX Runtime refuses these inputs"):
            load(write(text))

    def test_tensors_of_text_are_refused(self, write):
        text = """
        <ir_version: 8, opset_import: ["" : 17]>
        words (string[batch] x) => (string[batch] y) { y = Identity (x) }
        """
        with pytest.raises(SourceError, match="tensor 'x' holds strings"):
            load(write(text))

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("g (seq(float[n]) x) => (int64 y) { y = SequenceLength (x) }", "'x' is declared as a sequence"),
            ("g (float[n] x) => (seq(float[n]) y) { y = SequenceConstruct (x) }", "'y' is declared as a sequence"),
            ("g (float[n] x) => () { y = Neg (x) }", "the graph has no outputs"),
            ("g (float[n] x) => (float[n] y) { y = Neg (x) y = Abs (x) }", "'y' has been used as output names"),
        ],
    )
    def test_graphs_of_which_nothing_can_be_asked_are_refused(self, text, told, write):
        with pytest.raises(SourceError, match=told):
            load(write(f'<ir_version: 8, opset_import: ["" : 17]> {text}'))

    def test_sizes_below_zero_are_refused(self, write):
        file = write(linear())
        model = onnx.load(file)
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
        onnx.save(model, file)

        with pytest.raises(SourceError, match="axis 0 is declared to be -1 long"):
            load(file)

    def test_sparse_tensors_are_refused(self, write):
        file = write(linear())
        model = onnx.load(file)
        weight = model.graph.initializer.pop()
        values = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
        places = onnx.helper.make_tensor("places", onnx.TensorProto.INT64, [2], [0, 3])
        model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, places, list(weight.dims)))
        onnx.save(model, file)

        with pytest.raises(SourceError, match="'w' is a sparse tensor"):
            load(file)

    def test_example_inputs_are_no_business_of_a_graph(self, write):
        with pytest.raises(UsageError, match=r"expected with an nn.Module only"):
            load(write(linear()), example_inputs={"x": np.ones((2, 3), np.float32)})
