"""Makes a folder that holds a graph a package: the model's own side files, pages for people, the manifest last."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from onnxwright.artifact import member, write_manifest
from onnxwright.errors import SourceError
from onnxwright.manifest import Manifest, Step
from onnxwright.profile import Profile
from onnxwright.reports.columns import in_comparison, in_details, in_range, in_ranges
from onnxwright.reports.picture import lines
from onnxwright.tasks import task
from onnxwright.text import FILE_NAME as TOKENIZER
from onnxwright.text import Text, Tokenizer
from onnxwright.words import in_sizes

if TYPE_CHECKING:
    import jinja2

SIDE_FILES: Final = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*.json",
    "vocab*.txt",
    "merges.txt",
    "*.model",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "[0-9]_*/*.json",
    "LICENSE*",
)
"""What is copied from a Hugging Face model folder: settings, vocabularies, licences; never weights or code."""

PAGES: Final = {"README.md": "README.md.jinja", "report.html": "report.html.jinja"}
"""Pages for people, and the template of each."""

_TOKENIZER_FILES: Final = ("tokenizer*", "vocab*", "*.model")
_CODE: Final = (".py", ".bin", ".pt", ".pth", ".pkl", ".safetensors", ".onnx")
# A `.model` is a SentencePiece model, which begins with a field; a pickle with its protocol, an archive with PK.
_PICKLED: Final = (b"\x80", b"PK\x03\x04")
_PROBES: Final[tuple[Text, ...]] = (
    "",
    "A guitar is a stringed instrument.",
    "Ünïcödé, naïve café — 日本語 한국어 😀",
    "  spaces\tand\nlines  [MASK] <mask> </s> ",
    "antidisestablishmentarianism 3.14159 state-of-the-art O'Neill's",
    ("a question?", "Its context, in UPPER and lower case."),
)


def package(folder: Path, manifest: Manifest, *, tokenizer_source: Path | None) -> Manifest:
    """Completes a folder that holds `onnx/model.onnx`, and returns the manifest as it was written.

    Raises:
        SourceError: when a side file of the source leads out of its folder, or its tokenizer can't be loaded.
    """
    if tokenizer_source is not None:
        copied = copy_side_files(tokenizer_source, folder)
        details = {"copied": copied, "tokenizer": settle_tokenizer(folder)}
        manifest = msgspec.structs.replace(manifest, lineage=(*manifest.lineage, Step("package", details)))
    for name, page in render_pages(manifest).items():
        (folder / name).write_text(page, encoding="utf-8")
    write_manifest(folder, manifest)
    return manifest


def copy_side_files(source: Path, folder: Path) -> list[str]:
    """Copies the side files of a model folder, links of the hub cache as what they link to; returns their names.

    Raises:
        SourceError: when a link leads out of the folder.
    """
    names = sorted({path.relative_to(source).as_posix() for pattern in SIDE_FILES for path in source.glob(pattern)})
    copied = [name for name in names if _is_side_file(source, name)]
    for name in copied:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(member(source, name), folder / name)
    return copied


def settle_tokenizer(folder: Path) -> str:
    """Makes `tokenizer.json` give the ids that `transformers` gives, and says what that took.

    `transformers` builds some tokenizers anew instead of reading the file, and some models have only the older files.

    Raises:
        SourceError: when `transformers` can't load the tokenizer.
    """
    if not any(path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)):
        return "none"
    reference = _load_reference(folder)
    if (folder / TOKENIZER).is_file() and _agrees(Tokenizer.open(folder), reference):
        return "as in the source"
    if not reference.is_fast:
        return "only for transformers"
    raw = reference.backend_tokenizer
    raw.no_truncation()
    raw.no_padding()
    raw.save(str(folder / TOKENIZER))
    return "written from transformers"


def render_pages(manifest: Manifest) -> dict[str, str]:
    """Returns the pages for people by their file name; all they say is in the manifest."""
    found = task(manifest.task) if manifest.task else None
    return {
        name: _templates().get_template(template).render(manifest=manifest, task=found, feeds=list(_feeds(manifest)))
        for name, template in PAGES.items()
    }


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("onnxwright", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "cell": _to_cell,
        "code": _to_code,
        "comparison": in_comparison,
        "details": in_details,
        "picture": lambda proof: "\n".join(lines(proof)),
        "range": in_range,
        "ranges": in_ranges,
        "sizes": in_sizes,
    }
    return environment


def _is_side_file(source: Path, name: str) -> bool:
    path = source / name
    if not path.is_file() or path.suffix.lower() in _CODE:
        return False
    target = member(source, name)
    if target.suffix.lower() in _CODE:
        return False
    with target.open("rb") as stream:
        return not stream.read(4).startswith(_PICKLED)


def _load_reference(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as refusal:  # tokenizers of every kind
        raise SourceError(f"the tokenizer of the source can't be loaded by transformers: {refusal}.") from refusal


def _agrees(tokenizer: Tokenizer, reference: Any) -> bool:
    found = [list(encoding.ids) for encoding in tokenizer.encode(_PROBES)]
    return found == [_reference_ids(reference, text) for text in _PROBES]


def _reference_ids(reference: Any, text: Text) -> list[int]:
    pair = text if isinstance(text, tuple) else (text,)
    ids: list[int] = reference(*pair)["input_ids"]
    return ids


def _feeds(manifest: Manifest) -> Iterator[tuple[str, Sequence[int], str]]:
    """Yields name, shape and type of each input at the usual sizes, as far as they are proven."""
    usual = Profile(manifest.profile).usual
    sizes = {dim: min(max(usual.get(dim, least), least), most) for dim, (least, most) in manifest.proof.range.items()}
    for spec in manifest.signature.inputs:
        yield spec.name, spec.resolve(sizes), spec.dtype


def _to_cell(text: object) -> Any:
    """Returns text for a cell of a Markdown table: one line, and nothing in it that Markdown or HTML would read."""
    from markupsafe import Markup, escape

    line = " ".join(str(text).split())
    return Markup(re.sub(r"([\\`*_\[\]|])", r"\\\1", str(escape(line))))  # noqa: S704 - escaped just before


def _to_code(value: object) -> Any:
    """Returns a value as Python writes it, for a block of code."""
    from markupsafe import Markup

    return Markup(repr(value))  # noqa: S704 - a fenced block is not HTML
