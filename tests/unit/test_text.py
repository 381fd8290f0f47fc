import json
import shutil
import threading

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwright.errors import SourceError, UsageError
from onnxwright.text import Tokenizer

TEXTS = [
    "",
    " ",
    "hello",
    "Hello, World!  How's it going?",
    "Ünïcödé façade — naïve café",
    "日本語のテキスト and 한국어 mixed",
    "😀 emoji 👩‍👩‍👧 family",
    "tab\tnew\nline\r\n  spaces  ",
    "[CLS] literal [SEP] specials [MASK] [PAD] here",
    "antidisestablishmentarianism " * 3,
    "word " * 2000,
    "x" * 300,
    "\u200bzero\u200bwidth\x00null",
]
PAIRS = [("a query", "a passage"), ("", ""), ("long " * 40, "short"), ("short", "long " * 40), ("é" * 50, "ü b " * 50)]


def save_byte_level(folder, **settings_):
    raw = tokenizers.Tokenizer(tokenizers.models.BPE())
    raw.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    raw.train_from_iterator([*TEXTS, "the quick brown fox jumps over the lazy dog " * 20], trainer)
    raw.post_processor = tokenizers.processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    raw.enable_truncation(7)
    raw.enable_padding(length=9, pad_id=1, pad_token="<pad>")
    folder.mkdir(exist_ok=True)
    raw.save(str(folder / "tokenizer.json"))
    named = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "mask_token": "<mask>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 64,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps({**named, **settings_}))
    return folder


def save_unigram(folder):
    raw = tokenizers.Tokenizer(tokenizers.models.Unigram())
    raw.normalizer = tokenizers.normalizers.NFKC()
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    raw.decoder = tokenizers.decoders.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>"
    )
    raw.train_from_iterator([text for text in TEXTS if text.strip()] * 3, trainer)
    raw.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    folder.mkdir()
    raw.save(str(folder / "tokenizer.json"))
    pad = {"__type": "AddedToken", "content": "<pad>"}
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": pad}
    (folder / "tokenizer_config.json").write_text(json.dumps({**named, "tokenizer_class": "PreTrainedTokenizerFast"}))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory, minilm):
    root = tmp_path_factory.mktemp("tokenizers")
    return {
        "wordpiece": minilm,
        "byte-level": save_byte_level(root / "bytes"),
        "byte-level cut on the left": save_byte_level(root / "left", truncation_side="left", padding_side="left"),
        "unigram": save_unigram(root / "unigram"),
        "without a pad token of its own": save_byte_level(root / "added", pad_token="<fill>"),
        "with a token more": save_byte_level(
            root / "more", added_tokens_decoder={"605": {"content": "hello", "special": False, "normalized": True}}
        ),
    }


@pytest.fixture(
    scope="module",
    params=[
        "wordpiece",
        "byte-level",
        "byte-level cut on the left",
        "unigram",
        "without a pad token of its own",
        "with a token more",
    ],
)
def both(request, folders):
    import transformers

    folder = folders[request.param]
    return Tokenizer.open(folder), transformers.AutoTokenizer.from_pretrained(folder)


def columns(encoding):
    return list(encoding.ids), list(encoding.attention_mask), list(encoding.type_ids)


def expected(found, row):
    return found["input_ids"][row], found["attention_mask"][row], found["token_type_ids"][row]


@pytest.mark.parametrize("max_length", [None, 4, 5, 64])
def test_gives_the_ids_of_transformers(both, max_length):
    ours, theirs = both
    found = ours.encode(TEXTS, max_length=max_length)
    reference = theirs(
        TEXTS,
        truncation=max_length is not None,
        max_length=max_length,
        return_token_type_ids=True,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    for row, encoding in enumerate(found):
        assert columns(encoding) == expected(reference, row)
        assert list(encoding.offsets) == reference["offset_mapping"][row]
        assert list(encoding.special_tokens_mask) == reference["special_tokens_mask"][row]
        assert list(encoding.word_ids) == reference.word_ids(row)


@pytest.mark.parametrize("max_length", [None, 8, 9, 40])
def test_gives_the_ids_of_transformers_for_pairs(both, max_length):
    ours, theirs = both
    found = ours.encode(PAIRS, max_length=max_length)
    firsts, seconds = zip(*PAIRS, strict=True)
    reference = theirs(
        list(firsts),
        list(seconds),
        truncation=max_length is not None,
        max_length=max_length,
        return_token_type_ids=True,
    )
    for row, encoding in enumerate(found):
        assert columns(encoding) == expected(reference, row)
        assert list(encoding.sequence_ids) == reference.sequence_ids(row)


def test_cuts_only_the_second_text_when_told(both):
    ours, theirs = both
    pair = ("what is it", "long " * 400)
    (encoding,) = ours.encode([pair], max_length=40, cut="only_second")
    reference = theirs(*pair, truncation="only_second", max_length=40)
    assert list(encoding.ids) == reference["input_ids"]
    assert encoding.is_truncated


def test_pads_as_transformers_does(both):
    ours, theirs = both
    texts = ["one", "one two three four five"]
    found = [ours.pad(encoding, 32) for encoding in ours.encode(texts)]
    reference = theirs(
        texts, padding="max_length", max_length=32, return_token_type_ids=True, return_special_tokens_mask=True
    )
    for row, encoding in enumerate(found):
        assert columns(encoding) == expected(reference, row)
        assert list(encoding.special_tokens_mask) == reference["special_tokens_mask"][row]
        assert len(encoding.offsets) == len(encoding.pieces) == len(encoding.word_ids) == len(encoding) == 32


def test_spells_as_transformers_does(both):
    ours, theirs = both
    for text in ["Hello, World!", "Ünïcödé façade", "tab\tnew"]:
        (encoding,) = ours.encode([text])
        tokens = [number for number, special in enumerate(encoding.special_tokens_mask) if not special]
        if theirs.unk_token_id not in encoding.ids:
            assert encoding.spell(tokens) == theirs.convert_tokens_to_string(
                theirs.convert_ids_to_tokens([encoding.ids[token] for token in tokens])
            )


def test_knows_the_limit_of_the_model(both):
    ours, theirs = both
    assert ours.model_max_length == (None if theirs.model_max_length > 1e9 else theirs.model_max_length)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60), other=st.text(max_size=60), room=st.integers(4, 30))
def test_agrees_on_any_text(minilm_both, text, other, room):
    ours, theirs = minilm_both
    single, pair = ours.encode([text], max_length=room)[0], ours.encode([(text, other)], max_length=room)[0]
    assert list(single.ids) == theirs(text, truncation=True, max_length=room)["input_ids"]
    assert list(pair.ids) == theirs([text], [other], truncation=True, max_length=room)["input_ids"][0]
    assert single.is_truncated == (len(theirs(text)["input_ids"]) > room)
    assert pair.is_truncated == (len(theirs([text], [other])["input_ids"][0]) > room)


@pytest.fixture(scope="module")
def minilm_both(minilm):
    import transformers

    return Tokenizer.open(minilm), transformers.AutoTokenizer.from_pretrained(minilm)


def test_ignores_settings_stored_in_the_file(minilm):
    stored = tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
    assert stored.truncation["max_length"] == 128, "the trap is in this file"
    (long,), (short,) = Tokenizer.open(minilm).encode(["word " * 300]), Tokenizer.open(minilm).encode(["word"])
    assert (len(long), len(short)) == (302, 3)


def test_unknown_pieces_are_spelled_as_written(minilm):
    (encoding,) = Tokenizer.open(minilm).encode(["ok " + "☃" * 3])
    assert encoding.pieces[2:-1] == ("☃☃☃",)


def test_several_threads_share_a_tokenizer(minilm):
    tokenizer = Tokenizer.open(minilm)
    wrong = []

    def work(length):
        for _ in range(50):
            (encoding,) = tokenizer.encode(["word " * 50], max_length=length)
            if len(encoding) != length:
                wrong.append(length)

    threads = [threading.Thread(target=work, args=(length,)) for length in (5, 9, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_two_very_long_texts_cost_no_more_than_their_tokens(minilm):
    (encoding,) = Tokenizer.open(minilm).encode([("first " * 60_000, "second " * 60_000)], max_length=11)
    assert encoding.pieces[1:-1] == ("first",) * 4 + ("[SEP]",) + ("second",) * 4
    assert encoding.is_truncated


def test_refuses_half_of_a_surrogate_pair(minilm):
    with pytest.raises(UsageError, match="not valid Unicode"):
        Tokenizer.open(minilm).encode(["fine", "\ud800"])


def test_refuses_a_length_below_the_special_tokens(minilm):
    with pytest.raises(UsageError, match="max_length 1: the special tokens alone are 2"):
        Tokenizer.open(minilm).encode(["fine", "text"], max_length=1)
    with pytest.raises(UsageError, match="max_length 2: the special tokens alone are 3"):
        Tokenizer.open(minilm).encode([("a", "b")], max_length=2)


@pytest.mark.parametrize("length", [3, 5, 13])
def test_refuses_a_first_text_that_leaves_no_room(minilm, length):
    with pytest.raises(UsageError, match=r"alone is 10 tokens, which leaves no room .* Shorten it"):
        Tokenizer.open(minilm).encode(
            [("one two three four five six seven eight nine ten", "context")], max_length=length, cut="only_second"
        )


def test_refuses_to_pad_without_a_token(minilm, tmp_path):
    stored = json.loads((minilm / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps({**stored, "padding": None}))
    tokenizer = Tokenizer.open(tmp_path)
    (encoding,) = tokenizer.encode(["text"])
    assert tokenizer.pad(encoding, 3) == encoding
    with pytest.raises(UsageError, match=r"no pad token.*batch_size=1"):
        tokenizer.pad(encoding, 4)


def test_names_a_missing_tokenizer(tmp_path):
    with pytest.raises(SourceError, match=r"has no tokenizer.json.*save_pretrained"):
        Tokenizer.open(tmp_path)


def test_refuses_a_broken_tokenizer(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(SourceError, match="is not a tokenizer"):
        Tokenizer.open(tmp_path)


@pytest.mark.parametrize(("content", "words"), [("{", "is not JSON"), ("[1]", "expected a JSON object, got list")])
def test_refuses_broken_settings(tmp_path, minilm, content, words):
    shutil.copy(minilm / "tokenizer.json", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(content)
    with pytest.raises(SourceError, match=words):
        Tokenizer.open(tmp_path)
