import json
import pickle
import re
import shutil
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
import yaml

import onnxwright
from onnxwright.artifact import Package
from onnxwright.errors import SourceError
from onnxwright.findings import Finding
from onnxwright.manifest import Attempt, EngineProof, Latency, Measurement
from onnxwright.pipelines import pipeline
from onnxwright.stages.package import copy_side_files, package, render_pages, settle_tokenizer
from onnxwright.tasks import tasks
from onnxwright.text import Tokenizer

HOSTILE = "<script>alert('x')</script> | `a` \n --- {{ 7 * 7 }}"


@pytest.fixture
def staged(graph, manifest_of):
    """A folder with a graph in it, and its manifest."""
    file = graph()
    return file.parent.parent, manifest_of(file, task="embedding")


def full(manifest):
    """The manifest with everything in it that can be told, hostile text where text is free."""
    ranges = {"batch": (1, 4), "sequence": (1, 16)}
    fast = Latency({"batch": 1, "sequence": 8}, 100, 1.25, 1.5, 2.0, 2.5, (2.25, 2.75))
    same = Latency({"batch": 4, "sequence": 8}, 100, 4.0, 4.5, 5.0, 1.01, (0.97, 1.06))
    variant = manifest.variants["model"]
    engines = {**variant.engines, "openvino": EngineProof(executed=False, proof=None, message="not installed")}
    measured = (
        Measurement("onnxruntime float32", "pytorch", {"backend": "onnxruntime", "threads": 2}, (fast, same), 1e-6),
    )
    return msgspec.structs.replace(
        manifest,
        findings=(
            Finding(
                "range-narrowed",
                HOSTILE,
                where="model.py:7",
                repair="plain-attention",
                module=f"module {HOSTILE}",
                evidence=f"seen {HOSTILE}",
                excerpt=("> 7  if x < y:  # <script>",),
            ),
        ),
        attempts=(
            Attempt("trace", 17, "failed", HOSTILE),
            Attempt("dynamo", 18, "proven", "whole profile", ranges, 6.25),
        ),
        variants={"model": msgspec.structs.replace(variant, engines=engines, measurements=measured)},
    )


class Text(HTMLParser):
    """The text of a page, and the tags in it."""

    def __init__(self, page):
        super().__init__()
        self.words, self.tags = [], []
        self.feed(page)

    def handle_data(self, data):
        self.words.append(data)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def __str__(self):
        return " ".join(" ".join(self.words).split())


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


class TestPackage:
    def test_makes_a_package_that_answers(self, staged, minilm):
        folder, manifest = staged
        written = package(folder, manifest, tokenizer_source=minilm)
        assert Package.open(folder).manifest == written
        assert pipeline(folder)("hello world") == [101.0 + 7592 + 2088 + 102, 4.0]
        assert written.lineage[-1].verb == "package"
        assert written.lineage[-1].details["tokenizer"] == "as in the source"
        assert "tokenizer.json" in written.lineage[-1].details["copied"]

    def test_writes_the_manifest_last(self, staged, minilm):
        folder, manifest = staged
        package(folder, manifest, tokenizer_source=minilm)
        times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}
        assert max(times, key=times.get) == "onnxwright.json"

    def test_does_without_a_source(self, staged):
        folder, manifest = staged
        assert package(folder, manifest, tokenizer_source=None) == manifest
        assert sorted(path.name for path in folder.iterdir()) == ["README.md", "onnx", "onnxwright.json", "report.html"]

    def test_loads_in_transformers(self, staged, minilm):
        import transformers

        folder, manifest = staged
        package(folder, manifest, tokenizer_source=minilm)
        assert transformers.AutoConfig.from_pretrained(folder).hidden_size == 384
        assert transformers.AutoTokenizer.from_pretrained(folder)("hello")["input_ids"] == [101, 7592, 102]


class TestSideFiles:
    def test_copies_what_is_listed_and_nothing_else(self, minilm, tmp_path):
        assert copy_side_files(minilm, tmp_path / "out") == [
            "1_Pooling/config.json",
            "config.json",
            "config_sentence_transformers.json",
            "modules.json",
            "sentence_bert_config.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
        ]
        assert (tmp_path / "out" / "1_Pooling" / "config.json").read_bytes() == (
            minilm / "1_Pooling" / "config.json"
        ).read_bytes()

    @pytest.mark.parametrize(
        "name",
        ["model.safetensors", "pytorch_model.bin", "tokenizer.py", "modeling.py", "vocab.pkl", ".env", "train.json",
         "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin"],
    )  # fmt: skip
    def test_never_copies_weights_or_code(self, tmp_path, name):
        source = tmp_path / "source"
        (source / name).parent.mkdir(parents=True)
        (source / name).write_text("x")
        assert copy_side_files(source, tmp_path / "out") == []

    def test_takes_a_sentencepiece_model_but_no_pickle_of_that_name(self, tmp_path):
        source = tmp_path / "source"
        source.mkdir()
        (source / "spiece.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>")
        (source / "word2vec.model").write_bytes(pickle.dumps({"a": 1}))
        (source / "archive.model").write_bytes(b"PK\x03\x04more")
        assert copy_side_files(source, tmp_path / "out") == ["spiece.model"]

    @pytest.mark.parametrize("name", ["config.json", "1_Pooling"])
    def test_refuses_a_link_that_leads_out(self, tmp_path, name):
        source, outside = tmp_path / "source", tmp_path / "outside"
        source.mkdir()
        outside.mkdir()
        (outside / "config.json").write_text('{"secret": true}')
        (source / name).symlink_to(outside / "config.json" if name == "config.json" else outside)
        with pytest.raises(SourceError, match="leads out of the folder"):
            copy_side_files(source, tmp_path / "out")

    def test_copies_the_content_behind_the_links_of_the_hub_cache(self, tmp_path):
        source = tmp_path / "models--a--b" / "snapshots" / "0123"
        blobs = tmp_path / "models--a--b" / "blobs"
        source.mkdir(parents=True)
        blobs.mkdir()
        (blobs / "abc").write_text('{"a": 1}')
        (source / "config.json").symlink_to("../../blobs/abc")
        assert copy_side_files(source, tmp_path / "out") == ["config.json"]
        copied = tmp_path / "out" / "config.json"
        assert not copied.is_symlink()
        assert copied.read_text() == '{"a": 1}'


class TestTokenizer:
    def test_leaves_one_that_agrees(self, minilm, tmp_path):
        copy_side_files(minilm, tmp_path)
        before = (tmp_path / "tokenizer.json").read_bytes()
        assert settle_tokenizer(tmp_path) == "as in the source"
        assert (tmp_path / "tokenizer.json").read_bytes() == before

    def test_writes_one_for_a_model_with_a_vocabulary_alone(self, minilm, tmp_path):
        copy_side_files(minilm, tmp_path)
        (tmp_path / "tokenizer.json").unlink()
        assert settle_tokenizer(tmp_path) == "written from transformers"
        expected = Tokenizer.open(minilm).encode(["Hello wörld"])[0].ids
        assert Tokenizer.open(tmp_path).encode(["Hello wörld"])[0].ids == expected

    def test_rewrites_one_that_transformers_would_not_obey(self, minilm, tmp_path):
        import transformers

        copy_side_files(minilm, tmp_path)
        stored = json.loads((minilm / "tokenizer.json").read_text())
        stored["normalizer"]["lowercase"] = False
        (tmp_path / "tokenizer.json").write_text(json.dumps(stored))
        assert settle_tokenizer(tmp_path) == "written from transformers"
        reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
        assert list(Tokenizer.open(tmp_path).encode(["HELLO"])[0].ids) == reference("HELLO")["input_ids"]

    def test_says_that_there_is_none(self, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        assert settle_tokenizer(tmp_path) == "none"

    def test_says_that_it_cannot_be_loaded(self, tmp_path):
        (tmp_path / "tokenizer.json").write_text("{")
        with pytest.raises(SourceError, match="can't be loaded by transformers"):
            settle_tokenizer(tmp_path)


class TestPages:
    def test_readme_begins_with_the_card_of_a_model(self, staged):
        page = render_pages(staged[1])["README.md"]
        card = yaml.safe_load(page.split("---\n")[1])
        assert card == {
            "library_name": "onnxwright",
            "pipeline_tag": "sentence-similarity",
            "tags": ["onnx", "onnxwright"],
        }

    @pytest.mark.parametrize("name", [*sorted(tasks()), None])
    def test_renders_for_every_task(self, staged, name):
        manifest = msgspec.structs.replace(staged[1], task=name)
        for page in render_pages(manifest).values():
            assert (name or "model").capitalize() in page

    @pytest.mark.parametrize("page", ["README.md", "report.html"])
    def test_tell_what_the_manifest_holds(self, staged, page):
        text = str(Text(render_pages(full(staged[1]))[page])).replace("\\", "")
        for words in [
            "onnxruntime float32 against pytorch, at 12 points",
            "1 to 16",
            "1e-07",
            "batch 2, sequence 5",
            "1e-05",
            "same-precision",
            "float64",
            "proven for batch 1 to 4, sequence 1 to 16",
            "not executed: not installed",
            "range-narrowed",
            "model.py:7",
            "plain-attention",
            "whole profile",
            "1.25 ms",
            "2.50× faster than pytorch (2.25 to 2.75)",
            "no difference to pytorch",
            "input_ids",
            "int64[batch, sequence]",
        ]:
            assert words in text, words

    def test_hostile_text_stays_text(self, staged):
        pages = render_pages(full(staged[1]))
        for page in pages.values():
            assert "script" not in Text(page).tags
            assert "{{ 7 * 7 }}" in str(Text(page)).replace("\\", "")
        rows = [line for line in pages["README.md"].splitlines() if line.startswith("| range-narrowed")]
        assert len(rows) == 1
        assert len(re.findall(r"(?<!\\)\|", rows[0])) == 5

    def test_report_shows_the_lines_of_a_finding_and_the_picture(self, staged):
        manifest = full(staged[1])
        sizes = ({"batch": 1, "sequence": 2}, {"batch": 4, "sequence": 16})
        proof = msgspec.structs.replace(manifest.proof, sizes=sizes)
        page = render_pages(msgspec.structs.replace(manifest, proof=proof))["report.html"]
        assert "&gt; 7  if x &lt; y:  # &lt;script&gt;" in page
        assert "In <code>module &lt;script&gt;" in page
        assert "Evidence: seen &lt;script&gt;" in page
        assert "<pre>batch 1 to 4 down, sequence 2 to 16 across" in page

    def test_html_is_well_formed(self, staged):
        void = {"meta", "br", "link"}
        waiting = []

        class Balance(HTMLParser):
            def handle_starttag(self, tag, attrs):
                if tag not in void:
                    waiting.append(tag)

            def handle_endtag(self, tag):
                assert waiting.pop() == tag

        Balance().feed(render_pages(full(staged[1]))["report.html"])
        assert waiting == []

    def test_leave_out_what_there_is_none_of(self, staged):
        for page in render_pages(staged[1]).values():
            for heading in ["Findings", "What was tried", "What was measured"]:
                assert heading not in page

    def test_python_in_the_readme_runs(self, staged, minilm, monkeypatch):
        folder, manifest = staged
        package(folder, manifest, tokenizer_source=minilm)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(onnxwright, "open", Package.open, raising=False)
        monkeypatch.setattr(onnxwright, "pipeline", pipeline, raising=False)
        answer, tensors, runtime = blocks((folder / "README.md").read_text(), "python")
        names = {}
        exec(answer, names)
        assert np.shape(names["answer"]) == (2,)
        exec(tensors, names)
        assert names["feeds"]["input_ids"].shape == (1, 1)
        assert list(names["outputs"]) == ["sentence_embedding"]
        expected = names["outputs"]["sentence_embedding"]
        exec(runtime, names)
        assert names["outputs"][0].tolist() == expected.tolist()

    def test_names_cannot_leave_their_block_of_code(self, staged):
        manifest = staged[1]
        spec = msgspec.structs.replace(manifest.signature.outputs[0], name="a\n```\n<b>")
        signature = msgspec.structs.replace(manifest.signature, outputs=(spec,))
        page = render_pages(msgspec.structs.replace(manifest, signature=signature))["README.md"]
        assert len(blocks(page, "python")) == 3
        assert r"a\n```\n<b>" in blocks(page, "python")[2]


def test_templates_are_part_of_the_package():
    from importlib.resources import files

    assert (files(onnxwright) / "templates" / "README.md.jinja").is_file()


def test_copies_nothing_over_the_graph(staged, minilm, tmp_path):
    folder, manifest = staged
    source = tmp_path / "source"
    shutil.copytree(minilm, source, ignore=shutil.ignore_patterns("*.safetensors"))
    (source / "README.md").write_text("theirs")
    before = (folder / "onnx" / "model.onnx").read_bytes()
    package(folder, manifest, tokenizer_source=source)
    assert (folder / "onnx" / "model.onnx").read_bytes() == before
    assert "theirs" not in (folder / "README.md").read_text()
