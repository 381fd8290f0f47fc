"""Turns text into token ids as `transformers` does, with the `tokenizers` library alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from onnxwright.errors import SourceError, UsageError
from onnxwright.settings import read_settings

if TYPE_CHECKING:
    import tokenizers

Text = str | tuple[str, str]
"""One text, or a pair of them."""
Cut = Literal["longest_first", "only_second"]
"""Which text of a pair is cut when both are too long."""

FILE_NAME: Final = "tokenizer.json"
_SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")
_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# `transformers` writes 1e30 where a tokenizer has no limit.
_NO_LIMIT = 10**9


def built_in() -> list[str]:
    """Returns texts of many kinds and some languages, for whoever has none: a word to several sentences each."""
    return (Path(__file__).parent / "corpus.txt").read_text(encoding="utf-8").splitlines()


@dataclass(frozen=True)
class Encoding:
    """The tokens of one text or pair; each tuple has one entry a token, padding included.

    `offsets` are places in the text of that `sequence_ids` entry. `pieces` are the tokens as the decoder takes them;
    a token that the vocabulary lacks is spelled as it stands in the text.
    """

    texts: tuple[str, ...]
    ids: tuple[int, ...]
    attention_mask: tuple[int, ...]
    type_ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    word_ids: tuple[int | None, ...]
    sequence_ids: tuple[int | None, ...]
    special_tokens_mask: tuple[int, ...]
    pieces: tuple[str, ...]
    is_truncated: bool
    decoder: Callable[[list[str]], str]

    def __len__(self) -> int:
        return len(self.ids)

    def spell(self, tokens: Sequence[int]) -> str:
        """Returns the text of some tokens, given by their index, as the tokenizer's decoder writes it."""
        return self.decoder([self.pieces[token] for token in tokens])


@dataclass(frozen=True)
class Padding:
    """How short texts are filled up: on which side, and with what. No token means that there is none to use."""

    side: str
    token: str | None
    id: int | None
    type_id: int


class Tokenizer:
    """A `tokenizer.json` with the settings beside it; safe to use from several threads."""

    def __init__(self, raw: tokenizers.Tokenizer, settings: Mapping[str, Any]):
        _add_tokens(raw, settings)
        self._raw = raw
        self._padding = _read_padding(raw, settings)
        self._cut_side = settings.get("truncation_side") or (raw.truncation or {}).get("direction", "right")
        self._max_length = int(limit) if 0 < (limit := settings.get("model_max_length") or 0) < _NO_LIMIT else None
        self._unknown = _content(settings.get("unk_token"))
        # Settings stored in the file are those of whoever saved it; `transformers` doesn't obey them either.
        raw.no_padding()
        raw.no_truncation()

    @classmethod
    def open(cls, folder: Path) -> Tokenizer:
        """Reads the tokenizer of a model folder.

        Raises:
            SourceError: when there is no `tokenizer.json`, or it can't be read.
        """
        import tokenizers

        file = folder / FILE_NAME
        if not file.is_file():
            raise SourceError(f"'{folder}' has no {FILE_NAME}. Save it there with `tokenizer.save_pretrained`.")
        try:
            raw = tokenizers.Tokenizer.from_file(str(file))
        except Exception as refusal:  # the library raises nothing narrower
            raise SourceError(f"'{file}' is not a tokenizer: {refusal}. Save it again.") from refusal
        return cls(raw, {key: value for name in _SETTINGS for key, value in read_settings(folder / name).items()})

    @property
    def model_max_length(self) -> int | None:
        """How many tokens the model takes at most, as far as its tokenizer knows."""
        return self._max_length

    @property
    def padding(self) -> Padding:
        """How short texts are filled up."""
        return self._padding

    @property
    def unknown(self) -> int | None:
        """The id of the token that stands for what the vocabulary lacks; None where nothing is lacking."""
        return None if self._unknown is None else self._raw.token_to_id(self._unknown)

    def encode(
        self, texts: Sequence[Text], *, max_length: int | None = None, cut: Cut = "longest_first"
    ) -> list[Encoding]:
        """Encodes texts, special tokens included, each cut to `max_length` tokens and none padded.

        Raises:
            UsageError: when `max_length` leaves no room for the special tokens, or for a text that may not be cut.
        """
        try:
            found = self._raw.encode_batch(list(texts))
        except TypeError as refusal:
            raise UsageError("a text is not valid Unicode (half of a surrogate pair). Decode it anew.") from refusal
        cutting = None if max_length is None else _Cutting(max_length, cut, self._cut_side)
        return [self._to_encoding(text, encoding, cutting) for text, encoding in zip(texts, found, strict=True)]

    def pad(self, encoding: Encoding, length: int) -> Encoding:
        """Fills an encoding up to `length` tokens; one that is as long stays as it is.

        Raises:
            UsageError: when the tokenizer has no pad token.
        """
        count = length - len(encoding)
        if count <= 0:
            return encoding
        padding = self._padding
        if padding.id is None or padding.token is None:
            raise UsageError(
                "the tokenizer has no pad token, so texts of different lengths can't share a batch. "
                "Use batch_size=1, or name a `pad_token` in tokenizer_config.json."
            )
        fill: dict[str, Any] = {
            "ids": padding.id,
            "attention_mask": 0,
            "type_ids": padding.type_id,
            "offsets": (0, 0),
            "word_ids": None,
            "sequence_ids": None,
            "special_tokens_mask": 1,
            "pieces": padding.token,
        }
        is_left = padding.side == "left"
        columns: dict[str, Any] = {
            name: _extend(getattr(encoding, name), (value,) * count, is_left=is_left) for name, value in fill.items()
        }
        return replace(encoding, **columns)

    def _to_encoding(self, text: Text, found: tokenizers.Encoding, cutting: _Cutting | None) -> Encoding:
        texts = text if isinstance(text, tuple) else (text,)
        columns: dict[str, Sequence[Any]] = {
            "ids": found.ids,
            "attention_mask": found.attention_mask,
            "type_ids": found.type_ids,
            "offsets": found.offsets,
            "word_ids": found.word_ids,
            "sequence_ids": found.sequence_ids,
            "special_tokens_mask": found.special_tokens_mask,
            "pieces": found.tokens,
        }
        is_truncated = cutting is not None and len(found.ids) > cutting.max_length
        if cutting is not None and is_truncated:
            kept = cutting.choose(found.sequence_ids, texts)
            columns = {name: [column[token] for token in kept] for name, column in columns.items()}
        columns["pieces"] = [
            texts[sequence][slice(*offset)] if piece == self._unknown and sequence is not None else piece
            for piece, offset, sequence in zip(
                columns["pieces"], columns["offsets"], columns["sequence_ids"], strict=True
            )
        ]
        tuples: dict[str, Any] = {name: tuple(column) for name, column in columns.items()}
        return Encoding(texts=texts, is_truncated=is_truncated, decoder=self._spell, **tuples)

    def _spell(self, pieces: list[str]) -> str:
        return str(self._raw.decoder.decode(pieces)) if self._raw.decoder else " ".join(pieces)


@dataclass(frozen=True)
class _Cutting:
    """How encodings are cut to a length: special tokens stay, and tokens of a text go from one of its ends.

    The truncation of the `tokenizers` library would keep every piece of what it cuts off, and for a pair every
    combination of pieces: two long texts fill the memory.
    """

    max_length: int
    cut: Cut
    side: str

    def choose(self, sequences: Sequence[int | None], texts: Sequence[str]) -> list[int]:
        """Returns which tokens stay, in order, given the text that each is of."""
        counts = [sum(sequence == number for sequence in sequences) for number in range(len(texts))]
        room = self.max_length - (len(sequences) - sum(counts))
        if room < 0:
            special = self.max_length - room
            raise UsageError(f"max_length {self.max_length}: the special tokens alone are {special}. Allow for more.")
        gone: set[int] = set()
        for number, size in enumerate(self._sizes(counts, room, texts)):
            own = [token for token, sequence in enumerate(sequences) if sequence == number]
            gone.update(own[: len(own) - size] if self.side == "left" else own[size:])
        return [token for token in range(len(sequences)) if token not in gone]

    def _sizes(self, counts: Sequence[int], room: int, texts: Sequence[str]) -> tuple[int, ...]:
        """Returns how many tokens of each text stay: as the strategies of that name in `tokenizers` have it."""
        if len(counts) == 1:
            return (room,)
        first, second = counts
        if self.cut == "only_second":
            if first >= room:
                raise UsageError(
                    f"'{texts[0][:40]}' alone is {first} tokens, which leaves no room for its context in "
                    f"{self.max_length}. Shorten it."
                )
            return first, room - first
        shorter = min(first, second)
        longer = shorter if shorter > room else max(shorter, room - shorter)
        if shorter + longer > room:
            shorter = room // 2
            longer = shorter + room % 2
        return (shorter, longer) if first <= second else (longer, shorter)


def _extend(values: tuple[Any, ...], fill: tuple[Any, ...], *, is_left: bool) -> tuple[Any, ...]:
    return fill + values if is_left else values + fill


def _read_padding(raw: tokenizers.Tokenizer, settings: Mapping[str, Any]) -> Padding:
    stored = raw.padding or {}
    token = _content(settings.get("pad_token")) or stored.get("pad_token")
    return Padding(
        side=settings.get("padding_side") or stored.get("direction", "right"),
        token=token,
        id=None if token is None else raw.token_to_id(token),
        type_id=settings.get("pad_token_type_id") or stored.get("pad_type_id", 0),
    )


def _add_tokens(raw: tokenizers.Tokenizer, settings: Mapping[str, Any]) -> None:
    """Adds the tokens that the settings name and the file lacks, in the order of their ids, as `transformers` does."""
    import tokenizers

    known = {token.content for token in raw.get_added_tokens_decoder().values()}
    declared = settings.get("added_tokens_decoder") or {}
    for entry in (declared[key] for key in sorted(declared, key=int)):
        if entry["content"] not in known:
            flags = {flag: entry.get(flag, False) for flag in ("single_word", "lstrip", "rstrip", "normalized")}
            raw.add_tokens([tokenizers.AddedToken(entry["content"], special=entry.get("special", False), **flags)])
            known.add(entry["content"])
    named = [content for name in _NAMED_TOKENS if (content := _content(settings.get(name)))]
    raw.add_special_tokens(
        [tokenizers.AddedToken(content, normalized=False) for content in named if content not in known]
    )


def _content(token: Any) -> str | None:
    """Returns the text of a special token, which settings write as a string or as a table of its flags."""
    return token.get("content") if isinstance(token, Mapping) else token
