"""A tiny random model of any type that transformers maps to a base model, and inputs that it answers.

No architecture is named here. A config is made anew from fields that were made small by what they are called, so that
what its class derives from them fits; where no model can be built and run from it, a gentler shrinking is tried. Inputs
have the shapes that `forward` documents. A refusal is read: an argument that it names is given next, and a size that it
names takes the place of another one that it names. Where float64 chooses otherwise with the weights as they are drawn,
they are made wider.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
import re
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

LARGEST = 60_000_000
TRIES = 40
SECONDS = 3.0
ALL_SECONDS = 12.0
CALL_SECONDS = 0.5
SEEDS = 3
STEADY = 1e-2
SHIFT = 1e-6
MOST_ELEMENTS = 10_000_000
NEVER = r"embeds|past_key|output|labels|use_cache"
LAYERS = r"layers|.*_layers|n_layers?|num_.*blocks?|(.*_)?depths?|.*num_layers.*|.*blocks_per_.*"
COUNTS = (
    (r".*experts_per_tok(en)?|(moe_)?top_?k(_experts)?|moe_k", 2),
    (r"(num_.*experts|n_routed_experts|num_local_experts|.*num_experts)", 4),
    (r"n_group|topk_group|n_groups", 1),
    (r"(.*_)?num_(\w+_)?(queries|proposals)", 12),
    (r".*(token|start|end|bos|eos|pad|newline|patch)_(id|index)", 3),
    (r".*vocab(_size.*)?|num_hash_buckets|.*num_buckets", 99),
    (r"(.*_)?chunk_size", 32),
    (r".*(max_position|n_positions|max_seq|max_length|n_ctx).*", 160),
)
WIDTHS = (
    r".*(hidden_size|hidden_dim|intermediate|ffn|d_ff|inner|width|rank|channels?|filters|planes|units|feats|mrope_section).*"
    r"|.*d_(model|kv|inner|state|head)|n_embd|.*dims?|dim_.*|.*emb.*_size|.*sizes|.*head_(dim|size)|.*(_|^)dim(_|$).*"
    r"|.*(_|^)size"
)
KEPT = (
    r".*(image|patch|kernel|window|window_size|crop|vocab|chunk|block|pool|scale|stride|frame|grid|clip|num_).*size.*"
)
HEADS = r"(num_.*heads|n_heads?|.*_heads|.*num_heads|.*n_heads?|num_key_value_groups)"
HEAD_SIZES = r".*(head_dim|d_head|head_size|d_kv|dim_head|mrope_section|rotary_dim).*"
CAPS = (
    (HEADS, 2, False),
    (r"head_dim", 16, True),
    (r".*(intermediate|ffn|d_ff|inner|hidden_dim).*", 48, True),
    (r"(.*hidden_size|d_model|.*dim|n_embd|.*width|.*embed_size|.*embedding_size)", 32, True),
    (r"image_size", 32, False),
    (r".*patch_size", 8, False),
)


SEQUENCE = (
    r"(\w*_)?(sequence|seq|ids|audio|time|target|codes|episode)_?(length|len|steps)|\w*num_samples|frames|num_choices"
)
AUDIO = ((r"input_values|audio_values|waveform", "samples"), (r"features|mel|spectrogram", "frames"))
SHAPES = (
    (
        r".*pixel_values.*",
        (
            "batch, num_channels, height, width",
            "batch, num_frames, num_channels, height, width",
            "batch, num_channels, 224, 224",
        ),
    ),
    (
        r".*features|spectrogram|audio_mel",
        ("batch, feature_size, frames", "batch, frames, feature_size", "batch, 1, frames, feature_size"),
    ),
    (r"input_values", ("batch, num_samples", "batch, 1, num_samples")),
    (r".*(_ids|mask)", ("batch, sequence_length",)),
    (r".*", ("batch, sequence_length, hidden_size",)),
)
# A word of a documented shape, what configs call it, and what it is where none says.
WORDS = (
    (r"height|width|image_size|frame_size|crop_size", ("image_size", "img_size", "pretrain_image_size"), 64),
    (r"\w*channels", ("num_channels", "in_channels", "in_chans", "audio_channels", "input_channels"), 3),
    (r"feature_(size|dim)|(num_)?mel_bins", ("num_mel_bins", "feature_size", "input_feat_per_channel", "n_mels"), 80),
    (r"num_frames", ("frames_per_clip",), 4),
    (r"all_patches", (), 32),
    (r"(max_)?patches", (), 16),
    (r"temporal_patch_size", (), 1),
)
GRID = [1, 4, 4]
USUAL = {"batch": 2, "sequence": 16, "samples": 4096, "frames": 64}
LEAST = (1, 2, 4, 8)
MOST = {"batch": (8, 4), "sequence": (128, 64, 32), "samples": (16384, 8192), "frames": (256, 128)}


@dataclasses.dataclass(frozen=True)
class Shrinking:
    """How small a config is made: the most layers, what widths are divided by, and what else becomes of its numbers."""

    layers: int
    divisor: int = 1
    has_fewer_heads: bool = False
    caps: int = 0
    is_completed: bool = False

    def number(self, key: str, value: int) -> int:
        """Returns what a number of a config becomes, by what it is called."""
        if re.fullmatch(LAYERS, key):
            return min(value, self.layers)
        for pattern, most in COUNTS:
            if re.fullmatch(pattern, key):
                return min(value, most)
        for pattern, most, grows in CAPS if self.caps else ():
            if re.fullmatch(pattern, key):
                return min(value, most * self.caps if grows else most)
        if self.has_fewer_heads and re.fullmatch(HEADS, key):
            return max(value // self.divisor, 1)
        is_kept = re.fullmatch(KEPT, key) or (self.has_fewer_heads and re.fullmatch(HEAD_SIZES, key))
        return value // self.divisor if re.fullmatch(WIDTHS, key) and not is_kept and value >= 16 else value

    def value(self, key: str, value: Any) -> Any:
        """Returns what a value of a config becomes; lists and dicts are gone into."""
        if hasattr(value, "to_dict"):
            return shrunk(value, self)
        if type(value) is int and value > 0:
            return self.number(key, value)
        if isinstance(value, dict):
            return {each: self.value(str(each), inner) for each, inner in value.items()}
        if isinstance(value, (list, tuple)):
            kept = value[: self.layers] if re.fullmatch(r".*layer.*(types|list)|.*_types", key) else value
            return kept if "image_size" in key else type(value)(self.value(key, inner) for inner in kept)
        return value


SHRINKINGS = (
    Shrinking(2, caps=1),
    Shrinking(2, caps=1, is_completed=True),
    *(Shrinking(2, 16, has_fewer_heads=fewer) for fewer in (False, True)),
    *(Shrinking(2, 8, has_fewer_heads=fewer) for fewer in (False, True)),
    *(Shrinking(2, caps=caps) for caps in (4, 8)),
    *(Shrinking(99, 16, has_fewer_heads=fewer) for fewer in (False, True)),
    *(Shrinking(99, 8, has_fewer_heads=fewer) for fewer in (False, True)),
    *(Shrinking(2, 4, has_fewer_heads=fewer) for fewer in (False, True)),
    Shrinking(99, 4),
    Shrinking(2),
    Shrinking(99),
)


def shrunk(config: Any, shrinking: Shrinking) -> Any:
    """Returns a config made from small fields; those that its class derives from others are left to it."""
    plain = type(config)()
    given = {}
    for field in dataclasses.fields(config):
        value = held(config, field)
        is_told = hasattr(value, "to_dict") or (isinstance(value, (list, tuple)) and re.fullmatch(WIDTHS, field.name))
        is_derived = field.default is None and not is_told and value == held(plain, field)
        if field.init and not is_derived:
            given[field.name] = shrinking.value(field.name, value)
    if getattr(config, "_out_features", None) != getattr(plain, "_out_features", None):
        given["out_features"] = config.out_features
    small = type(config)(**given)
    if shrinking.is_completed:
        complete(small)
    for key in ("use_cache", "return_dict"):
        if hasattr(small, key):
            setattr(small, key, key == "return_dict")
    return small


def held(config: Any, field: dataclasses.Field[Any]) -> Any:
    """Returns what a config has in a field; the default where layers differ in it, which the config refuses to tell."""
    try:
        return getattr(config, field.name, None)
    except RuntimeError:
        return field.default


def complete(config: Any) -> None:
    """Gives a config what some classes have no default for, though their models ask for it."""
    if getattr(config, "head_dim", 0) is None:
        config.head_dim = config.hidden_size // config.num_attention_heads
    if getattr(config, "num_key_value_heads", 0) is None:
        config.num_key_value_heads = config.num_attention_heads
    if getattr(config, "layer_types", ()) is None:
        config.layer_types = ["full_attention"] * config.num_hidden_layers


def numbers(config: Any) -> dict[str, Any]:
    """Returns the numbers of a config and of those in it by their names; the outermost has a name first."""
    held_here = vars(config).items()
    found = {key: value for key, value in held_here if isinstance(value, (int, list, tuple)) and value is not True}
    for value in vars(config).values():
        if hasattr(value, "to_dict"):
            found = {**numbers(value), **found}
    return found


@dataclasses.dataclass(frozen=True)
class Input:
    """An input to be drawn: its sizes, where a name is a dim of any size, and what its values are."""

    sizes: tuple[int | str, ...]
    kind: str

    def drawn(self, dims: Mapping[str, int], vocabulary: int) -> Any:
        """Returns a tensor with dims of these sizes, the same each time."""
        import torch

        sizes = [dims[size] if isinstance(size, str) else size for size in self.sizes]
        draw = torch.Generator().manual_seed(0)
        if self.kind == "grid":
            return torch.tensor([GRID[-sizes[1] :]] * sizes[0])
        if self.kind == "tokens":
            return torch.randint(min(5, vocabulary - 1), vocabulary, sizes, generator=draw)
        if self.kind == "floats":
            return torch.randn(sizes, generator=draw)
        if self.kind == "zeros":
            return torch.zeros(sizes, dtype=torch.int64)
        return torch.ones(sizes, dtype=torch.bool if self.kind == "bools" else torch.int64)


@dataclasses.dataclass(frozen=True)
class Call:
    """What a model is called with: an input for each keyword, and the usual sizes of its dims."""

    inputs: Mapping[str, Input]
    dims: Mapping[str, int]
    vocabulary: int

    def tensors(self, **sizes: int) -> dict[str, Any]:
        """Returns the inputs by keyword; dims have their usual sizes but for those given."""
        return {key: given.drawn({**self.dims, **sizes}, self.vocabulary) for key, given in self.inputs.items()}

    def count(self) -> int:
        """Returns the count of the elements of all inputs."""
        sizes = ([self.dims.get(str(size), size) for size in given.sizes] for given in self.inputs.values())
        return sum(math.prod(int(size) for size in each) for each in sizes)

    def named(self) -> set[str]:
        """Returns the dims that inputs have."""
        return {size for given in self.inputs.values() for size in given.sizes if isinstance(size, str)}


class Arguments:
    """What `forward` takes, what it says of them, and what the config tells of their sizes."""

    def __init__(self, model: Any) -> None:
        arguments = inspect.signature(model.forward).parameters
        self.taken = {key: each for key, each in arguments.items() if each.kind is each.POSITIONAL_OR_KEYWORD}
        self.text = model.forward.__doc__ or ""
        self.known = numbers(model.config)
        main = getattr(model, "main_input_name", "input_ids")
        self.main = [key for key in ([main] if isinstance(main, str) else main) if key in self.taken]
        self.required = [key for key, each in self.taken.items() if each.default is each.empty]
        self.is_generator = getattr(model.config, "is_encoder_decoder", False)
        self.known["patch_width"] = math.prod(
            self.number(word, "") for word in ("num_channels", "temporal_patch_size", "patch_size", "patch_size")
        )
        self.is_patched = any(key.endswith("grid_thw") for key in self.required)
        self.is_padded = not {"spatial_shapes", "pixel_position_ids"}.isdisjoint(self.taken)

    def said(self, key: str) -> str:
        """Returns what `forward` says of an argument: its annotation, and its line of the docstring."""
        line = re.search(rf"^\s*{key} \((.*)\)?:", self.text, re.MULTILINE)
        return f"{self.taken[key].annotation} {line.group(1) if line else ''}"

    def kind(self, key: str) -> str:
        """Returns what the values of an argument are."""
        if re.search(r"grid_thw|spatial_shapes|target_sizes", key):
            return "grid"
        if re.search(r"pixel_values|features$|values\w*$|embeds$|states?$", key):
            return "floats"
        if "input_ids" in key:
            return "tokens"
        if "mask" in key:
            return "bools" if "Bool" in self.said(key) else "ones"
        return "zeros" if re.search(r"LongTensor|IntTensor", self.said(key)) else "floats"

    def guesses(self, key: str) -> list[Input]:
        """Returns inputs that an argument may take: as documented, then as others of such a name are."""
        shape = self.said(key).partition("of shape")[2].replace("{0}", "batch_size, sequence_length")
        shapes = re.findall(r"[(\[]+([^)\]]*)[)\]]+`", shape)
        shapes += next((shapes_of_it for pattern, shapes_of_it in SHAPES if re.fullmatch(pattern, key)), ())
        if self.is_patched and self.kind(key) == "floats":
            shapes.insert(0, "all_patches, patch_width")
        if self.is_padded and re.fullmatch(r"pixel_(values|attention_mask)", key):
            shapes.insert(0, "batch, patches" + ", patch_width" * (self.kind(key) == "floats"))
        found = [
            Input(tuple(self.size(word.strip(), key) for word in shape.split(",") if word.strip()), self.kind(key))
            for shape in shapes
        ]
        return list(dict.fromkeys(found))

    def size(self, word: str, key: str) -> int | str:
        """Returns what a word of a documented shape stands for: a dim, or a number."""
        if re.fullmatch(r"batch(_size)?|bs|total_classes.*|num_images\w*|num_tiles", word):
            return "batch"
        if re.fullmatch(SEQUENCE, word):
            main = self.main[0] if self.main and "mask" in key else key
            return next((dim for pattern, dim in AUDIO if re.search(pattern, main)), "sequence")
        return self.number(word, key)

    def number(self, word: str, key: str) -> int:
        """Returns the number that a word of a documented shape stands for, or a small one where nothing is known."""
        if re.search(r"\*", word):
            factors = re.split(r" ?\* ?", re.sub(r"(\w+) ?\*\* ?2", r"\1 * \1", word))
            return math.prod(self.number(factor, key) for factor in factors)
        if word.isdigit():
            return int(word)
        names, usual = next(((names, usual) for pattern, names, usual in WORDS if re.fullmatch(pattern, word)), ((), 1))
        found = next((self.known[name] for name in (word, *names) if self.known.get(name)), usual)
        if isinstance(found, (list, tuple)):
            found = found[0 if word == "height" else -1]
        return found if isinstance(found, int) else usual

    def calls(self) -> Iterator[Call]:
        """Yields plausible calls: with text alone, with the main input, and with an input of each kind."""
        ids = ("input_ids", "attention_mask", *(("decoder_input_ids",) if self.is_generator else ()))
        text = [key for key in ids if key in self.taken] if "input_ids" in self.taken else []
        masked = ["attention_mask"] if "attention_mask" in self.taken else []
        rest = [key for key in self.taken if re.search(r"(pixel_values|input_features|input_values|past_values)$", key)]
        main = [*self.main, *(key for key in ids[2:] if self.main and key in self.taken)]
        for keys in (text, main, self.main, self.main + masked, text + rest, rest):
            chosen = dict.fromkeys([*keys, *self.required])
            if chosen:
                yield from self.with_keys(chosen)

    def with_keys(self, keys: Iterable[str], call: Call | None = None) -> Iterator[Call]:
        """Yields calls with inputs for these keywords, besides those of a call."""
        guesses = [self.guesses(key) for key in keys]
        vocabulary = min((n for key, n in self.known.items() if key.endswith("vocab_size") and n > 16), default=99)
        for chosen in itertools.islice(itertools.product(*guesses), 4):
            inputs = {**(call.inputs if call else {}), **dict(zip(keys, chosen, strict=True))}
            yield Call(inputs, call.dims if call else USUAL, vocabulary)

    def completed(self, call: Call, refusal: Exception) -> Iterator[Call]:
        """Yields calls with an argument more, that a refusal or the lines that led to it name."""
        lines = [str(frame.line) for frame in traceback.extract_tb(refusal.__traceback__)][:-9:-1]
        for key in dict.fromkeys(re.findall(r"\w+", " ".join([str(refusal), *lines]))):
            if key in self.taken and key not in call.inputs and not re.search(NEVER, key):
                yield from self.with_keys([key], call)


def resized(call: Call, refusal: Exception) -> Iterator[Call]:
    """Yields calls where a size that a refusal names has taken the place of another one that it names."""
    named = dict.fromkeys(int(word) for word in re.findall(r"\d+", str(refusal)) if 2 < int(word) < 20_000)
    for wrong, right in itertools.permutations(named, 2):
        for dim in sorted(call.named() - {"batch"}):
            if call.dims[dim] % wrong == 0:
                yield dataclasses.replace(call, dims={**call.dims, dim: call.dims[dim] // wrong * right})
        for key, given in call.inputs.items():
            sizes: tuple[int | str, ...] = given.sizes
            if given.kind == "floats":
                sizes = tuple(right if size == wrong else size for size in sizes)
            elif given.kind == "tokens" and len(sizes) == 2 and call.dims.get(str(sizes[1])) == wrong:
                sizes = (*sizes, right)
            if sizes != given.sizes:
                mended = dataclasses.replace(given, sizes=sizes)
                yield dataclasses.replace(call, inputs={**call.inputs, key: mended})


def answered(model: Any) -> Call:
    """Returns a call that a model answers.

    Raises:
        ValueError: when none is found; says what it said to the first.
    """
    import torch

    arguments = Arguments(model)
    waiting = deque(arguments.calls())
    tried: list[Call] = []
    problems = []
    end = time.process_time() + SECONDS
    while waiting and len(tried) < TRIES and time.process_time() < end:
        call = waiting.popleft()
        if call in tried or call.count() > MOST_ELEMENTS:
            continue
        tried.append(call)
        try:
            with torch.no_grad():
                model(**call.tensors())
        except Exception as refusal:  # noqa: BLE001 - a call that doesn't fit raises anything
            problems.append(f"{type(refusal).__name__}: {refusal}")
            waiting.extendleft(list(arguments.completed(call, refusal))[3::-1])
            waiting.extend(itertools.islice(resized(call, refusal), 6))
        else:
            return call
    raise ValueError(problems[0] if problems else f"takes {list(arguments.taken)}")


def built(name: str, shrinking: Shrinking, seed: int = 0) -> Any:
    """Returns a model with a config that was shrunk, its weights drawn by a seed.

    Raises:
        Exception: whatever a config that doesn't fit makes the model raise.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    config = shrunk(AutoConfig.for_model(name), shrinking)
    with torch.device("meta"):
        size = sum(weight.numel() for weight in AutoModel.from_config(config).parameters())
    if size > LARGEST:
        raise ValueError(f"has {size} weights however it is shrunk")
    torch.manual_seed(seed)
    model = AutoModel.from_config(config, dtype=torch.float32).eval()
    for weight in model.parameters():
        if weight.is_floating_point() and weight.numel() > 1 and bool((weight == weight.flatten()[0]).all()):
            weight.data.add_(torch.randn_like(weight), alpha=0.05)  # zeros hide what is wrong, and tie what is sorted
    return model


def widened(model: Any) -> Any:
    """Returns a model with the weights of its layers as wide as it takes to keep a signal as strong as it is.

    Narrow ones let it fade in a deep model, so that all places of an image score the same. So do those of a
    normalization, which stand alone on their axis.
    """
    import torch

    for layer in model.modules():
        weight = getattr(layer, "weight", None)
        if isinstance(weight, torch.nn.Parameter) and weight.dim() == 1 and 0.0 < (size := strength(weight)) < 0.5:
            weight.data.div_(size)
        if isinstance(layer, (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)):
            weight = layer.weight.data
            width = float(weight.std()) * (weight.numel() / weight.shape[0]) ** 0.5
            if 0.0 < width < 1.0:
                weight.div_(width)
    return model


def strength(weight: Any) -> float:
    """Returns the root of the mean square of a weight's numbers."""
    return float(weight.detach().square().mean().sqrt())


def is_steady(model: Any, call: Call) -> bool:
    """Whether a model answers about the same in float64 and to inputs that differ by rounding, as a trained one does.

    One that picks among elements which random weights make equal, or almost equal, picks others there, and one whose
    boxes lie at the very edge moves them far; of what can't run in float64 nothing is known.
    """
    import torch

    def floats(inputs: Mapping[str, Any]) -> list[Any]:
        with torch.no_grad():
            leaves = torch.utils._pytree.tree_leaves(dict(model(**inputs)))
        return [one for one in leaves if isinstance(one, torch.Tensor) and one.is_floating_point()]

    inputs = call.tensors()
    numbers = {key: one for key, one in inputs.items() if one.is_floating_point()}
    shifted = {key: one * (1.0 + SHIFT * torch.randn(one.shape).sign()) for key, one in numbers.items()}
    try:
        answers, moved = floats(inputs), floats({**inputs, **shifted})
        model.double()
        precise = floats({**inputs, **{key: one.double() for key, one in numbers.items()}})
    except Exception:  # noqa: BLE001 - what is written for float32 raises anything
        return True
    finally:
        model.float()
    return all(
        torch.allclose(one.double(), other.double(), rtol=STEADY, atol=STEADY, equal_nan=True)
        for others in (precise, moved)
        for one, other in zip(answers, others, strict=True)
    )


def made(name: str) -> tuple[Any, dict[str, Any], dict[str, dict[int, str]], dict[str, tuple[int, int, int]]]:
    """Returns a tiny random model of a type, inputs that it answers, their dims, and the profile of those.

    Raises:
        ValueError: when none can be built and run.
    """
    problems = []
    end = time.process_time() + ALL_SECONDS
    for shrinking in SHRINKINGS:
        if time.process_time() > end:
            break
        try:
            model = built(name, shrinking)
            call = answered(model)
            others = (widened(built(name, shrinking, seed)) for seed in range(SEEDS))
            model = next((one for one in itertools.chain([model], others) if is_steady(one, call)), model)
        except Exception as refusal:  # noqa: BLE001 - a config that doesn't fit raises anything
            problems.append(f"{type(refusal).__name__}: {refusal}")
        else:
            profile = probed(model, call)
            dims = {
                key: {axis: size for axis, size in enumerate(given.sizes) if isinstance(size, str) and size in profile}
                for key, given in call.inputs.items()
            }
            return model, call.tensors(), dims, profile
    raise ValueError(problems[0])


def probed(model: Any, call: Call) -> dict[str, tuple[int, int, int]]:
    """Returns for each dim of a call the least, usual and most size that a model answers; not of one that is fixed."""
    profile = {}
    for dim in sorted(call.named()):
        usual = call.dims[dim]
        larger = (usual * 2,) if dim == "batch" and "sequence" not in call.named() else MOST[dim]
        most = next((size for size in larger if size > usual and is_answered(model, call, {dim: size})), usual)
        smaller = (size for size in (*LEAST, usual // 2) if size < usual)
        least = next((size for size in smaller if is_answered(model, call, {dim: size})), usual)
        if least < most:
            profile[dim] = (least, usual, most)
    return profile


def is_answered(model: Any, call: Call, sizes: dict[str, int]) -> bool:
    """Tells whether a model answers a call with other sizes, and does so at once."""
    import torch

    begun = time.process_time()
    try:
        with torch.no_grad():
            model(**call.tensors(**sizes))
    except Exception:  # noqa: BLE001 - a size that doesn't fit raises anything
        return False
    return time.process_time() - begun < CALL_SECONDS
