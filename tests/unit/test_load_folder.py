"""Loading Hugging Face folders: task, inputs, limits, pooling, and weights that are not all there."""

import json
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from onnxwright.errors import CheckpointError, ForwardError, ProfileError, SourceError, UsageError
from onnxwright.pytorch.session import PyTorchSession
from onnxwright.samples import PADDED_LEFT, PADDED_RIGHT, TEXT
from onnxwright.stages.load import load

VOCABULARY = 30522
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": VOCABULARY,
}
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


@pytest.fixture
def save(tmp_path, minilm):
    """Saves a model as a folder, with MiniLM's tokenizer; returns the folder."""

    def save_model(model, name="model", *, tokenizer=True):
        folder = tmp_path / name
        model.save_pretrained(folder)
        for file in TOKENIZER if tokenizer else ():
            if (minilm / file).is_file():
                shutil.copy(minilm / file, folder)
        return folder

    return save_model


def make(model_class, config_class=transformers.BertConfig, **config):
    torch.manual_seed(1)
    model = model_class(config_class(**{**SMALL, **config})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.4)
    return model


def write_json(file, content):
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))


def run(source, feeds):
    return PyTorchSession(source.module, source.signature, threads=1).run(feeds)


def edit_weights(folder, change):
    file = folder / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    change(weights)
    safetensors.torch.save_file(weights, file, metadata={"format": "pt"})


class TestTask:
    @pytest.mark.parametrize(
        ("model_class", "config", "task", "outputs"),
        [
            ("BertModel", {}, "embedding", ["last_hidden_state", "sentence_embedding"]),
            ("BertForSequenceClassification", {"num_labels": 3}, "classification", ["logits"]),
            ("BertForSequenceClassification", {"num_labels": 1}, "reranking", ["logits"]),
            ("BertForTokenClassification", {"num_labels": 4}, "token-classification", ["logits"]),
            ("BertForQuestionAnswering", {}, "question-answering", ["start_logits", "end_logits"]),
            ("BertLMHeadModel", {"is_decoder": True}, "text-generation", ["logits"]),
        ],
    )
    def test_is_found_from_the_config(self, save, model_class, config, task, outputs):
        model = make(getattr(transformers, model_class), **config)
        source = load(save(model))
        assert (source.task, list(source.signature.output_names)) == (task, outputs)
        assert source.details == {"architecture": model_class, "task": task}
        feeds = source.sampler.draw({"batch": 3, "sequence": 9}, PADDED_RIGHT)
        with torch.no_grad():
            expected = model(**{name: torch.from_numpy(array) for name, array in feeds.items()})
        answered = run(source, feeds)
        for name in outputs:
            if name != "sentence_embedding":
                assert answered[name] == pytest.approx(expected[name].numpy(), abs=1e-5)

    def test_can_be_chosen(self, save):
        folder = save(make(transformers.BertForSequenceClassification, num_labels=1))
        assert load(folder, task="classification").task == "classification"
        source = load(folder, task="embedding")
        assert source.task == "embedding"
        codes = {found.code: found.message for found in source.findings}
        assert codes["unread-weights"] == "Left out, being of another head: classifier.bias, classifier.weight."

    def test_is_refused_where_the_checkpoint_has_no_head_for_it(self, save):
        folder = save(make(transformers.BertModel))
        words = r"no weights for classifier.bias, classifier.weight; the layers would be random. Choose the task"
        with pytest.raises(CheckpointError, match=words):
            load(folder, task="classification")

    def test_is_asked_for_where_none_fits(self, save):
        folder = save(make(transformers.BertForMaskedLM))
        words = r"no task is known for the architecture 'BertForMaskedLM'; pass --task with one of classification, emb"
        with pytest.raises(SourceError, match=words):
            load(folder)
        source = load(folder, task="embedding")
        assert [found.code for found in source.findings] == ["unused-weights", "unread-weights"]

    def test_unknown_lists_the_tasks(self, tmp_path):
        with pytest.raises(SourceError, match="task 'translation' is unknown; expected one of classification, embed"):
            load(tmp_path, task="translation")

    def test_is_of_hugging_face_models_only(self, tmp_path):
        file = tmp_path / "own.py"
        file.write_text("import torch\ndef make(): return torch.nn.Linear(2, 2), torch.randn(2, 2)\n")
        with pytest.raises(UsageError, match=r"task 'embedding': expected with a Hugging Face model; 'own.py:make'"):
            load(f"{file}:make", task="embedding")

    def test_images_are_not_taken_for_text(self, save):
        config = {"image_size": 8, "patch_size": 4, "num_channels": 1}
        model = make(transformers.ViTModel, transformers.ViTConfig, **config)
        with pytest.raises(SourceError, match=r"ViTModel takes pixel_values.* not a text model.*file.py:factory"):
            load(save(model, tokenizer=False), task="embedding")


ARCHITECTURES = {
    "distilbert": (
        "DistilBertModel",
        {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 40},
        (False, 40),
    ),
    "roberta": ("RobertaModel", {"type_vocab_size": 1, "max_position_embeddings": 42, "pad_token_id": 1}, (False, 40)),
    "xlm-roberta": ("XLMRobertaModel", {"type_vocab_size": 1, "max_position_embeddings": 66}, (False, 64)),
    "deberta-v2": (
        "DebertaV2Model",
        {
            "type_vocab_size": 0,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "max_position_embeddings": 64,
        },
        (False, 64),
    ),
    "mpnet": ("MPNetModel", {"max_position_embeddings": 50}, (False, 48)),
    "electra": ("ElectraModel", {"embedding_size": 8}, (True, 512)),
    "albert": ("AlbertModel", {"embedding_size": 8}, (True, 512)),
    "modernbert": (
        "ModernBertModel",
        {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
        (False, 512),
    ),
    "qwen3": ("Qwen3Model", {"num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 128}, (False, 128)),
    "llama": ("LlamaModel", {"num_key_value_heads": 1, "max_position_embeddings": 96}, (False, 96)),
    "gpt2": (
        "GPT2Model",
        {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 48, "bos_token_id": 1, "eos_token_id": 1},
        (True, 48),
    ),
    "t5": ("T5EncoderModel", {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}, (False, 512)),
    "fnet": ("FNetModel", {"use_tpu_fourier_optimizations": False}, (True, 512)),
}


class TestArchitectures:
    @pytest.mark.parametrize("name", ARCHITECTURES)
    def test_say_themselves_what_they_take(self, save, name):
        class_name, config, (has_types, longest) = ARCHITECTURES[name]
        model_class = getattr(transformers, class_name)
        model = make(model_class, model_class.config_class, **config)
        source = load(save(model))
        assert source.task == "embedding"
        assert ("token_type_ids" in source.signature.input_names) is has_types
        assert source.profile["sequence"].most == longest
        feeds = source.sampler.draw({"batch": 3, "sequence": 9})
        with torch.no_grad():
            states = model(**{name: torch.from_numpy(array) for name, array in feeds.items()})[0]
        answered = run(source, feeds)
        assert answered["last_hidden_state"] == pytest.approx(states.numpy(), rel=1e-5, abs=1e-5)
        assert answered["sentence_embedding"] == pytest.approx(states.mean(1).numpy(), rel=1e-5, abs=1e-5)

    def test_the_encoder_of_an_encoder_decoder_embeds(self, save):
        config = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "tie_word_embeddings": False}
        folder = save(transformers.T5ForConditionalGeneration(transformers.T5Config(vocab_size=VOCABULARY, **config)))
        source = load(folder, task="embedding")
        assert source.details["architecture"] == "T5EncoderModel"
        assert source.signature.input_names == ("input_ids", "attention_mask")

    def test_a_decoder_classifies(self, save):
        config = {"num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0, "num_labels": 3}
        model = make(transformers.Qwen3ForSequenceClassification, transformers.Qwen3Config, **config)
        source = load(save(model))
        assert source.task == "classification"
        assert str(source.signature.outputs[0]) == "float32[batch, 3]"

    def test_a_config_that_asks_for_tuples_is_overruled(self, save):
        folder = save(make(transformers.BertForQuestionAnswering))
        config = json.loads((folder / "config.json").read_text())
        write_json(folder / "config.json", {**config, "return_dict": False, "output_hidden_states": True})
        assert load(folder).signature.output_names == ("start_logits", "end_logits")

    def test_weights_in_half_precision_are_run_in_float32(self, save):
        source = load(save(make(transformers.BertModel).half()))
        assert {parameter.dtype for parameter in source.module.parameters()} == {torch.float32}

    def test_ranges_are_the_callers(self, save):
        folder = save(make(transformers.BertModel))
        assert load(folder, ranges={"sequence": (2, 16, 600)}).profile["sequence"] == (2, 16, 600)
        with pytest.raises(ProfileError, match="range for dim 'height': the model has no such dim; it has batch, sequ"):
            load(folder, ranges={"height": (1, 2, 3)})

    def test_samples_keep_to_the_vocabulary_and_the_tokenizer(self, save):
        source = load(save(make(transformers.BertModel)))
        ids = source.sampler.draw({"batch": 8, "sequence": 64})["input_ids"]
        assert (ids.min(), ids.max()) == (0, VOCABULARY - 1)
        text = source.sampler.draw({"batch": 2, "sequence": 16}, TEXT)
        assert (text["input_ids"][:, 0] == 101).all()
        assert (text["input_ids"][text["attention_mask"] == 0] == 0).all()

    def test_texts_of_the_user_are_sampled(self, save, tmp_path):
        folder = save(make(transformers.BertModel))
        (tmp_path / "texts.jsonl").write_text('"zebra"\n{"query": "zebra", "passage": "zebra"}\n\n["zebra", "zebra"]\n')
        sampler = load(folder, samples=tmp_path / "texts.jsonl").sampler
        text = sampler.draw({"batch": 4, "sequence": 12}, TEXT)["input_ids"]
        assert set(np.unique(text)) <= {0, 101, 102, 29145}


def pooled(mode, states, mask):
    """One row by the formulas of sentence-transformers, in plain loops over the tokens that count."""
    rows = []
    for row, seen in zip(states.astype(np.float64), mask, strict=True):
        kept = row[seen == 1]
        positions = np.flatnonzero(seen) + 1.0
        rows.append(
            {
                "cls": row[0],
                "max": kept.max(0),
                "mean": kept.mean(0),
                "mean_sqrt_len": kept.sum(0) / np.sqrt(len(kept)),
                "weightedmean": (kept * positions[:, None]).sum(0) / positions.sum(),
                "lasttoken": kept[-1],
            }[mode]
        )
    return np.stack(rows)


FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
PREFIX = "sentence_transformers.models"


def add_modules(folder, *kinds, pooling=None, path=""):
    names = ["Transformer", *kinds]
    entries = [
        {"idx": at, "name": str(at), "path": f"{at}_{kind}" if at else path, "type": f"{PREFIX}.{kind}"}
        for at, kind in enumerate(names)
    ]
    write_json(folder / "modules.json", entries)
    if pooling is not None:
        write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 16, **pooling})


def add_layer(folder, weights, **config):
    write_json(folder / "config.json", config)
    safetensors.torch.save_file(weights, folder / "model.safetensors")


class TestPooling:
    @pytest.fixture
    def folder(self, save):
        return save(make(transformers.BertModel))

    @pytest.mark.parametrize("values", [PADDED_RIGHT, PADDED_LEFT])
    @pytest.mark.parametrize("modes", [*[(mode,) for mode in FLAGS], ("cls", "mean"), tuple(FLAGS)])
    def test_is_that_of_sentence_transformers(self, folder, modes, values):
        add_modules(folder, "Pooling", pooling={flag: mode in modes for mode, flag in FLAGS.items()})
        source = load(folder)
        feeds = source.sampler.draw({"batch": 4, "sequence": 11}, values)
        answered = run(source, feeds)
        states = answered["last_hidden_state"]
        expected = np.concatenate([pooled(mode, states, feeds["attention_mask"]) for mode in modes], 1)
        assert answered["sentence_embedding"] == pytest.approx(expected, abs=1e-5)
        assert source.signature.outputs[1].shape == ("batch", 16 * len(modes))

    @pytest.mark.parametrize(
        ("config", "modes"),
        [
            ({"pooling_mode": "max"}, ["max"]),
            ({"pooling_mode": "Max", "pooling_mode_cls_token": True}, ["max"]),
            ({"pooling_mode": ["mean", "cls"]}, ["cls", "mean"]),
            ({"pooling_mode": "mean_sqrt_len_tokens"}, ["mean_sqrt_len"]),
            ({"pooling_mode_cls_token": True}, ["cls", "mean"]),
            ({}, ["mean"]),
        ],
    )
    def test_may_be_named_or_left_to_the_default(self, folder, config, modes):
        add_modules(folder, "Pooling", pooling=config)
        source = load(folder)
        feeds = source.sampler.draw({"batch": 4, "sequence": 11}, PADDED_RIGHT)
        answered = run(source, feeds)
        states = answered["last_hidden_state"]
        expected = np.concatenate([pooled(mode, states, feeds["attention_mask"]) for mode in modes], 1)
        assert answered["sentence_embedding"] == pytest.approx(expected, abs=1e-5)

    def test_that_leaves_the_prompt_out_is_refused(self, folder):
        add_modules(folder, "Pooling", pooling={"pooling_mode": "mean", "include_prompt": False})
        load(folder)
        prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
        write_json(folder / "config_sentence_transformers.json", prompts)
        with pytest.raises(SourceError, match=r"leaves the prompt out of the vector, which no graph can"):
            load(folder)

    def test_is_followed_by_dense_layers_and_normalization(self, folder):
        kinds = ("Pooling", "Dense", "LayerNorm", "Dropout", "Normalize")
        add_modules(folder, *kinds, pooling={"pooling_mode_mean_tokens": True})
        torch.manual_seed(2)
        linear, norm = torch.nn.Linear(16, 5), torch.nn.LayerNorm(5)
        torch.nn.init.normal_(norm.weight)
        dense = {f"linear.{name}": weight.detach() for name, weight in linear.named_parameters()}
        activation = "torch.nn.modules.activation.Tanh"
        add_layer(folder / "2_Dense", dense, in_features=16, out_features=5, bias=True, activation_function=activation)
        add_layer(
            folder / "3_LayerNorm",
            {f"norm.{name}": weight.detach() for name, weight in norm.named_parameters()},
            dimension=5,
        )
        source = load(folder)
        feeds = source.sampler.draw({"batch": 4, "sequence": 11}, PADDED_RIGHT)
        answered = run(source, feeds)
        mean = pooled("mean", answered["last_hidden_state"], feeds["attention_mask"])
        hidden = np.tanh(mean @ linear.weight.detach().numpy().T + linear.bias.detach().numpy())
        centred = hidden - hidden.mean(1, keepdims=True)
        scaled = centred / np.sqrt(hidden.var(1, keepdims=True) + 1e-5) * norm.weight.detach().numpy()
        expected = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
        assert answered["sentence_embedding"] == pytest.approx(expected, abs=1e-5)

    def test_finds_the_encoder_in_a_folder_of_its_own(self, folder, tmp_path):
        whole = tmp_path / "whole"
        whole.mkdir()
        folder.rename(whole / "0_Transformer")
        add_modules(whole, "Pooling", pooling={"pooling_mode_cls_token": True}, path="0_Transformer")
        write_json(whole / "0_Transformer" / "sentence_bert_config.json", {"max_seq_length": 77})
        source = load(whole)
        assert source.folder == whole / "0_Transformer"
        assert source.task_options == {"max_length": 77}
        assert source.sampler.text is not None

    def test_leaves_the_head_of_the_checkpoint_out(self, save):
        folder = save(make(transformers.BertForMaskedLM))
        add_modules(folder, "Pooling", pooling={"pooling_mode_cls_token": True})
        assert "unread-weights" in {found.code for found in load(folder).findings}

    @pytest.mark.parametrize(
        ("kinds", "pooling", "words"),
        [
            (
                ("Pooling", "LSTM"),
                {"pooling_mode_cls_token": True},
                r"models.LSTM' is unknown; expected one of Dense, D",
            ),
            (("Normalize",), None, r"expected a Pooling module next to the Transformer"),
            ((), None, r"expected a Pooling module next to the Transformer"),
            (("Pooling",), None, r"'1_Pooling/config.json' is missing, but modules.json names it"),
            (("Pooling",), {"pooling_mode": "median"}, r"pooling mode median; expected one of cls, lasttoken, max"),
            (("Pooling",), {"pooling_mode_mean_tokens": False}, r"pooling mode missing; expected one of cls"),
        ],
    )
    def test_that_is_not_known_is_refused(self, folder, kinds, pooling, words):
        add_modules(folder, *kinds, pooling=pooling)
        with pytest.raises(SourceError, match=words):
            load(folder)

    @pytest.mark.parametrize(
        ("listing", "words"),
        [
            ("[{", r"modules.json' is not JSON"),
            ("{}", r"modules.json': expected a list of modules, each with a type and a path"),
            ('[{"type": "x.Transformer"}]', r"each with a type and a path"),
            ('[{"type": "x.Transformer", "path": "../elsewhere"}]', r"path '../elsewhere' leads out of the folder"),
            ('[{"type": "x.Transformer", "path": "/tmp"}]', r"path '/tmp' leads out of the folder"),
        ],
    )
    def test_listing_that_is_damaged_is_refused(self, folder, listing, words):
        (folder / "modules.json").write_text(listing)
        with pytest.raises(SourceError, match=words):
            load(folder)

    @pytest.mark.parametrize(
        ("weights", "config", "error", "words"),
        [
            (
                {"linear.weight": torch.ones(5, 16)},
                {},
                CheckpointError,
                r"expected weights linear.bias \[5\], linear.we",
            ),
            (
                {"linear.weight": torch.ones(5, 15), "linear.bias": torch.ones(5)},
                {},
                CheckpointError,
                r"got linear.bias \[5\], linear.weight \[5, 15\]",
            ),
            (None, {}, SourceError, r"'2_Dense': no weights; expected model.safetensors or pytorch_model.bin"),
            (None, {"activation_function": "os.system"}, SourceError, r"activation 'system' is unknown"),
            (None, {"module_output_name": "token_embeddings"}, SourceError, r"works on sentence_embedding, token_emb"),
        ],
    )
    def test_dense_layers_that_do_not_fit_are_refused(self, folder, weights, config, error, words):
        add_modules(folder, "Pooling", "Dense", pooling={"pooling_mode_cls_token": True})
        write_json(folder / "2_Dense" / "config.json", {"in_features": 16, "out_features": 5, **config})
        if weights:
            safetensors.torch.save_file(weights, folder / "2_Dense" / "model.safetensors")
        with pytest.raises(error, match=words):
            load(folder)


class TestWeights:
    @pytest.fixture
    def folder(self, save):
        return save(make(transformers.BertForSequenceClassification, num_labels=3))

    def test_that_are_missing_are_listed(self, folder):
        edit_weights(folder, lambda weights: weights.pop("bert.encoder.layer.0.output.dense.weight"))
        with pytest.raises(
            CheckpointError, match=r"no weights for bert.encoder.layer.0.output.dense.weight; the layer"
        ):
            load(folder)

    def test_that_are_missing_by_dozens_are_counted(self, folder):
        edit_weights(folder, lambda weights: [weights.pop(name) for name in list(weights) if ".layer.0." in name])
        with pytest.raises(CheckpointError, match=r"no weights for bert.encoder.layer.0.* and \d+ more;"):
            load(folder)

    def test_that_are_missing_where_no_output_needs_them_are_told(self, save):
        folder = save(make(transformers.BertModel))
        edit_weights(folder, lambda weights: [weights.pop(name) for name in list(weights) if "pooler" in name])
        (finding,) = load(folder).findings
        assert finding.code == "unused-weights"
        assert "pooler.dense.bias, pooler.dense.weight; no output depends on them" in finding.message

    @pytest.mark.parametrize("task", ["auto", "classification"])
    @pytest.mark.parametrize("name", ["extra.weight", "bert.encoder.layer.9.output.dense.weight"])
    def test_that_are_left_over_are_listed(self, folder, name, task):
        edit_weights(folder, lambda weights: weights.update({name: torch.ones(2)}))
        words = f"BertForSequenceClassification has no place for {name}. Choose the task"
        with pytest.raises(CheckpointError, match=words):
            load(folder, task=task)

    def test_that_are_left_over_in_the_body_are_listed_for_another_task_too(self, folder):
        name = "bert.encoder.layer.9.output.dense.weight"
        edit_weights(folder, lambda weights: weights.update({name: torch.ones(2)}))
        with pytest.raises(CheckpointError, match=r"BertModel has no place for"):
            load(folder, task="embedding")

    def test_with_the_position_numbers_of_older_versions_are_whole(self, folder):
        positions = torch.arange(512)[None]
        edit_weights(folder, lambda weights: weights.update({"bert.embeddings.position_ids": positions}))
        assert load(folder).findings == ()

    def test_of_another_shape_are_listed(self, folder):
        edit_weights(folder, lambda weights: weights.update({"classifier.weight": torch.ones(5, 16)}))
        words = r"weights of another shape than config.json says: classifier.weight \[5, 16\] instead of \[3, 16\]"
        with pytest.raises(CheckpointError, match=words):
            load(folder)

    def test_with_nan_are_refused(self, folder):
        edit_weights(folder, lambda weights: weights["classifier.bias"].fill_(float("nan")))
        with pytest.raises(CheckpointError, match=r"NaN in classifier.bias. The checkpoint is damaged"):
            load(folder)

    def test_in_a_pickle_of_tensors_are_read(self, folder):
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        torch.save(weights, folder / "pytorch_model.bin")
        assert load(folder).task == "classification"
        torch.save({**weights, "extra.weight": torch.ones(2)}, folder / "pytorch_model.bin")
        with pytest.raises(CheckpointError, match=r"has no place for extra.weight"):
            load(folder)

    def test_in_several_files_are_read_whole(self, folder):
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        files = {name: f"model-0000{1 + at % 2}-of-00002.safetensors" for at, name in enumerate(weights)}
        for file in set(files.values()):
            part = {name: weight for name, weight in weights.items() if files[name] == file}
            safetensors.torch.save_file(part, folder / file, metadata={"format": "pt"})
        write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": files})
        assert load(folder).findings == ()
        (folder / "model-00002-of-00002.safetensors").unlink()
        with pytest.raises(SourceError, match=r"model-00002-of-00002.safetensors"):
            load(folder)


def test_a_model_that_raises_is_told_with_the_line(save):
    folder = save(make(transformers.BertModel))
    config = json.loads((folder / "config.json").read_text())
    write_json(
        folder / "config.json", {**config, "hidden_act": "gelu", "is_decoder": True, "add_cross_attention": False}
    )
    load(folder)
    config = {"num_key_value_heads": 1, "head_dim": 8, "num_labels": 3}
    model = make(transformers.Qwen3ForSequenceClassification, transformers.Qwen3Config, **config)
    model.config.pad_token_id = None
    with pytest.raises(
        ForwardError, match=r"can't be run on its example inputs: ValueError at transformers/.*: Cannot"
    ):
        load(save(model, "decoder"))
