"""Checkpoints whose weights come quantized: unpacked as their format says, or refused by name."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from cases import packing

from onnxwright.errors import CheckpointError, SourceError
from onnxwright.stages.export import export
from onnxwright.stages.load import load

WIDTH, GROUP = 64, 16
SHAPE = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": WIDTH}
QUERY = "encoder.layer.0.attention.self.query"
DENSE = "encoder.layer.0.intermediate.dense"
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": True, "sym": False}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True}
INT8 = {"quant_method": "bitsandbytes", "load_in_8bit": True}


def compressed(kept="pack-quantized", **weights):
    scheme = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": GROUP, **weights}
    groups = {"group_0": {"weights": scheme, "input_activations": None, "targets": ["Linear"]}}
    return {"quant_method": "compressed-tensors", "format": kept, "config_groups": groups}


@pytest.fixture
def save(tmp_path):
    """Saves a tiny BERT in which some layers' weights are replaced by what a format keeps; returns the folder."""

    def save_model(replaced, quantization, *, kind="BertModel", config="BertConfig", shape=SHAPE):
        torch.manual_seed(0)
        folder = tmp_path / "model"
        settings = getattr(transformers, config)(vocab_size=50, max_position_embeddings=32, **shape)
        getattr(transformers, kind)(settings).save_pretrained(folder)
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        for name in {name.rpartition(".")[0].removesuffix(".weight") for name in replaced}:
            weights.pop(f"{name}.weight")
        safetensors.torch.save_file({**weights, **replaced}, folder / "model.safetensors", metadata={"format": "pt"})
        told = json.loads((folder / "config.json").read_text())
        extra = {} if quantization is None else {"quantization_config": quantization}
        (folder / "config.json").write_text(json.dumps({**told, **extra}))
        return folder

    return save_model


def loaded_weight(folder, layer=QUERY):
    source = load(str(folder), ranges={}, task="embedding")
    weights = {name: value for name, value in source.module.named_parameters() if name.endswith(f"{layer}.weight")}
    (found,) = weights.values()
    return found.detach(), source


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("version", [1, 2])
def test_gptq_is_unpacked_to_the_last_digit(save, bits, version):
    steps, zeros, scales, groups = packing.grid(WIDTH, WIDTH, GROUP, bits)
    packed = packing.gptq(QUERY, (steps, zeros, scales, groups), bits, version=version)
    kept = {} if version == 1 else {"checkpoint_format": "gptq_v2"}

    found, source = loaded_weight(save(packed, {**GPTQ, "bits": bits, **kept}))

    assert torch.equal(found, packing.weight(steps, zeros, scales, groups))
    (finding,) = [one for one in source.findings if one.code == "weights-dequantized"]
    assert f"1 layers come quantized (gptq, {bits} bits)" in finding.message


def test_gptq_without_an_order_of_its_own_groups_neighbours(save):
    steps, zeros, scales, _ = packing.grid(WIDTH, WIDTH, GROUP, 4)
    packed = packing.gptq(QUERY, (steps, zeros, scales, np.arange(WIDTH) // GROUP), 4)
    del packed[f"{QUERY}.g_idx"]

    found, _ = loaded_weight(save(packed, GPTQ))

    assert torch.equal(found, packing.weight(steps, zeros, scales, np.arange(WIDTH) // GROUP))


def test_awq_is_unpacked_to_the_last_digit(save):
    steps, zeros, scales, _ = packing.grid(WIDTH, WIDTH, GROUP, 4)

    found, _ = loaded_weight(save(packing.awq(QUERY, steps, zeros, scales), AWQ))

    assert torch.equal(found, packing.weight(steps, zeros, scales, np.arange(WIDTH) // GROUP))


def test_int8_of_bitsandbytes_is_read_by_row(save):
    torch.manual_seed(3)
    stored, greatest = torch.randint(-127, 128, (WIDTH, WIDTH), dtype=torch.int8), torch.rand(WIDTH) + 0.5
    replaced = {f"{QUERY}.weight": stored, f"{QUERY}.SCB": greatest}

    found, _ = loaded_weight(save(replaced, INT8))

    assert torch.equal(found, stored.float() * (greatest / 127)[:, None])


def test_packed_compressed_tensors_are_unpacked(save):
    rng = np.random.default_rng(0)
    steps = rng.integers(-8, 8, (WIDTH, WIDTH))
    scale = torch.from_numpy(rng.uniform(0.01, 0.1, (WIDTH, WIDTH // GROUP)).astype(np.float16))
    replaced = {
        f"{QUERY}.weight_packed": packing.words(steps + 8, 4),
        f"{QUERY}.weight_scale": scale,
        f"{QUERY}.weight_shape": torch.tensor([WIDTH, WIDTH]),
    }

    found, _ = loaded_weight(save(replaced, compressed()))

    assert torch.equal(found, torch.from_numpy(steps) * scale.float().repeat_interleave(GROUP, 1))


def test_whole_compressed_tensors_are_scaled_by_row(save):
    torch.manual_seed(3)
    stored, scale = torch.randint(-128, 128, (WIDTH, WIDTH), dtype=torch.int8), torch.rand(WIDTH, 1)
    replaced = {f"{QUERY}.weight": stored, f"{QUERY}.weight_scale": scale}

    found, _ = loaded_weight(save(replaced, compressed("int-quantized", num_bits=8, strategy="channel")))

    assert torch.equal(found, stored * scale)


def test_a_quantized_checkpoint_becomes_a_graph_that_holds_its_numbers(save):
    grids = {name: packing.grid(WIDTH, WIDTH, GROUP, 4, seed) for seed, name in enumerate((QUERY, DENSE))}
    packed = {key: value for name, one in grids.items() for key, value in packing.gptq(name, one, 4).items()}

    model = export(load(str(save(packed, GPTQ)), ranges={}, task="embedding")).model

    held = [one.const_value.numpy() for one in model.graph.initializers.values()]
    for one in grids.values():
        wanted = packing.weight(*one).numpy()
        assert any(np.array_equal(array, wanted) or np.array_equal(array, wanted.T) for array in held)


def packed_query():
    return packing.gptq(QUERY, packing.grid(WIDTH, WIDTH, GROUP, 4), 4)


@pytest.mark.parametrize(
    ("quantization", "words"),
    [
        ({**GPTQ, "bits": 3}, "gptq in 3 bits; expected 2 or 4 or 8"),
        ({**AWQ, "version": "gemv"}, "layout 'gemv'; expected 'gemm'"),
        ({"quant_method": "hqq"}, "quantized with hqq .*which isn't read"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "quantized with fp8 .*which isn't read"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes in 4 bits"),
        (compressed(symmetric=False), "another type than symmetric whole numbers"),
        (compressed("float-quantized", type="float"), "another type than symmetric whole numbers"),
        (compressed("marlin-24"), "format 'marlin-24'; expected pack-quantized"),
        (None, "stored as I32, as quantized weights are, and config.json has no quantization_config"),
    ],
)
def test_formats_that_are_not_read_are_refused_by_name(save, quantization, words):
    folder = save(packed_query(), quantization)

    with pytest.raises(SourceError, match=words) as refused:
        load(str(folder), ranges={}, task="embedding")

    assert "save it as float weights" in str(refused.value)
    assert refused.value.exit_code == 2


def test_quantized_activations_are_refused(save):
    asked = compressed("int-quantized", num_bits=8)
    asked["config_groups"]["group_0"]["input_activations"] = {"num_bits": 8, "dynamic": True}

    with pytest.raises(SourceError, match="activations included, which isn't read"):
        load(str(save(packed_query(), asked)), ranges={}, task="embedding")


def test_a_zero_point_that_programs_read_differently_is_refused(save):
    steps, zeros, scales, groups = packing.grid(WIDTH, WIDTH, GROUP, 4)
    zeros[1, 2] = 16

    with pytest.raises(CheckpointError, match=r"query.qzeros' holds 15.*programs disagree") as refused:
        load(str(save(packing.gptq(QUERY, (steps, zeros, scales, groups), 4), GPTQ)), ranges={}, task="embedding")

    assert refused.value.exit_code == 1


def test_a_layer_that_lacks_a_part_is_refused(save):
    packed = packed_query()
    del packed[f"{QUERY}.scales"]

    with pytest.raises(CheckpointError, match=r"query' comes quantized, and has no 'scales'"):
        load(str(save(packed, GPTQ)), ranges={}, task="embedding")


def test_scales_of_other_groups_are_refused(save):
    packed = packed_query()
    packed[f"{QUERY}.scales"] = packed[f"{QUERY}.scales"][:2].clone()
    folder = save(packed, GPTQ)

    with pytest.raises(CheckpointError, match=r"don't fit a weight of int32\[64, 64\] in 4 groups"):
        load(str(folder), ranges={}, task="embedding")


def test_layers_that_keep_weights_the_other_way_round_are_refused(save):
    name = "h.0.attn.c_proj"
    packed = packing.gptq(name, packing.grid(WIDTH, WIDTH, GROUP, 4), 4)
    shape = {"n_embd": WIDTH, "n_layer": 1, "n_head": 2, "n_positions": 32}

    with pytest.raises(SourceError, match=r"c_proj' comes quantized .* is a Conv1D; expected a Linear"):
        load(str(save(packed, GPTQ, kind="GPT2Model", config="GPT2Config", shape=shape)), ranges={}, task="embedding")
