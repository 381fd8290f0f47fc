"""The classic helper: one file, by tracing, with its own names for the axes."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers
from torch import nn
from torch.ao.quantization import FakeQuantize, MovingAveragePerChannelMinMaxObserver

import onnxwright as ow

TINY = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "max_position_embeddings": 64,
}


def bert():
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification(transformers.BertConfig(**TINY, num_labels=3))


def distilbert():
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(vocab_size=90, dim=32, n_layers=1, n_heads=2, hidden_dim=37)
    return transformers.DistilBertForSequenceClassification(config)


def gpt2():
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=90, n_embd=32, n_layer=1, n_head=2, n_positions=64, pad_token_id=0, bos_token_id=1, eos_token_id=1
    )
    return transformers.GPT2ForSequenceClassification(config)


def inputs(batch=2, sequence=9):
    ids = torch.randint(1, 90, (batch, sequence))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def axes(tensors):
    return {t.name: [d.dim_param or d.dim_value for d in t.type.tensor_type.shape.dim] for t in tensors}


@pytest.mark.parametrize("opset", [12, *(pytest.param(opset, marks=pytest.mark.thorough) for opset in (13, 17))])
@pytest.mark.parametrize("make", [bert, *(pytest.param(one, marks=pytest.mark.thorough) for one in (distilbert, gpt2))])
def test_todays_transformers_models_are_written_and_right(make, opset, tmp_path):
    model = make()
    file = tmp_path / "model.onnx"

    proof = ow.convert_to_onnx(model, str(file), inputs(), opset)

    written = onnx.load(file)
    assert {entry.domain: entry.version for entry in written.opset_import}[""] == opset
    assert axes(written.graph.input) == {
        "input_ids": ["batch_size", "sequence"],
        "attention_mask": ["batch_size", "sequence"],
    }
    assert axes(written.graph.output)["output"][0] == "batch_size"
    assert proof.verdict == "proven"
    session = onnxruntime.InferenceSession(file)
    for batch, sequence in ((1, 1), (3, 30), (7, 64)):
        feeds = inputs(batch, sequence)
        feeds["attention_mask"][-1, sequence // 2 + 1 :] = 0
        with torch.no_grad():
            expected = model.eval()(**feeds).logits.numpy()
        answered = session.run(["output"], {name: tensor.numpy() for name, tensor in feeds.items()})[0]
        np.testing.assert_allclose(answered, expected, atol=1e-5)


def test_takes_its_arguments_by_name_and_writes_opset_12_unless_told(tmp_path):
    file = tmp_path / "model.onnx"

    ow.convert_to_onnx(model_pytorch=bert(), output_path=file, inputs_pytorch=inputs())

    assert onnx.load(file).opset_import[0].version == 12


class Order(nn.Module):
    """Subtracts, so that swapped inputs show."""

    def forward(self, first, second, third=None):
        answer = first - 2 * second
        return answer if third is None else answer + third


def test_inputs_are_named_and_ordered_as_in_the_dict(tmp_path):
    file = tmp_path / "model.onnx"
    second, first = torch.rand(2, 5), torch.rand(2, 5)

    ow.convert_to_onnx(Order(), file, {"second": second, "first": first})

    written = onnx.load(file)
    assert [value.name for value in written.graph.input] == ["second", "first"]
    answered = onnxruntime.InferenceSession(file).run(None, {"second": second.numpy(), "first": first.numpy()})[0]
    np.testing.assert_allclose(answered, (first - 2 * second).numpy(), rtol=1e-6)


@pytest.mark.parametrize("is_training", [True, False])
def test_the_mode_is_put_back_and_dropout_is_off_in_the_file(is_training, tmp_path):
    model = nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.9)).train(is_training)
    file = tmp_path / "model.onnx"

    ow.convert_to_onnx(model, file, {"input": torch.rand(2, 5)})

    assert [part.training for part in model.modules()] == [is_training] * 3
    assert "Dropout" not in {node.op_type for node in onnx.load(file).graph.node}


def test_constants_are_folded(tmp_path):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.rand(4, 4))

        def forward(self, x):
            return x @ self.weight.t()

    file = tmp_path / "model.onnx"
    ow.convert_to_onnx(Scaled(), file, {"x": torch.rand(2, 4)})

    assert [node.op_type for node in onnx.load(file).graph.node] == ["MatMul"]


def test_per_channel_fake_quantization_lifts_the_opset_to_13(tmp_path):
    class Quantized(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.line = nn.Linear(6, 4)
            self.weights = FakeQuantize(
                MovingAveragePerChannelMinMaxObserver,
                quant_min=-128,
                quant_max=127,
                dtype=torch.qint8,
                qscheme=torch.per_channel_symmetric,
                ch_axis=0,
            )
            self.weights(self.line.weight)
            self.weights.disable_observer()

        def forward(self, x):
            return nn.functional.linear(x, self.weights(self.line.weight), self.line.bias)

    file = tmp_path / "model.onnx"
    proof = ow.convert_to_onnx(Quantized(), file, {"x": torch.rand(2, 6)})

    written = onnx.load(file)
    assert written.opset_import[0].version == 13
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in written.graph.node}
    assert proof.verdict == "proven"


def test_a_file_that_is_wrong_away_from_the_dummy_shape_is_refused(tmp_path):
    class Frozen(nn.Module):
        def forward(self, x):
            return x / int(x.shape[1])

    with pytest.raises(ow.ProofError, match="not right away from the dummy inputs"):
        ow.convert_to_onnx(Frozen(), tmp_path / "model.onnx", {"x": torch.rand(2, 5)})

    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_stays_when_the_new_one_is_refused(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"precious")

    with pytest.raises(ow.ModelError):
        ow.convert_to_onnx(nn.Sequential(Noise()), file, {"input": torch.rand(2, 5)})

    assert file.read_bytes() == b"precious"


class Noise(nn.Module):
    """Answers noise."""

    def forward(self, x):
        return torch.rand_like(x)


@pytest.mark.parametrize(
    ("path", "words"), [("missing/model.onnx", "folder doesn't exist"), ("", "is a folder")], ids=["parent", "folder"]
)
def test_a_path_that_can_not_be_written_is_refused_first(path, words, tmp_path):
    with pytest.raises(ow.UsageError, match=words):
        ow.convert_to_onnx(Order(), tmp_path / path, {"first": torch.rand(2, 5), "second": torch.rand(2, 5)})


def test_an_opset_that_tracing_can_not_write_is_refused(tmp_path):
    with pytest.raises(ow.UsageError, match="opsets 9 to 20"):
        ow.convert_to_onnx(bert(), tmp_path / "model.onnx", inputs(), opset=23)
