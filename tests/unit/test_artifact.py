import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from onnxwright import staging
from onnxwright.artifact import Package, member, write_manifest
from onnxwright.errors import (
    EngineError,
    OutOfRangeError,
    OutputError,
    RouteError,
    SignatureError,
    SourceError,
    UsageError,
)
from onnxwright.manifest import FILE_NAME, Default, EngineProof, Evidence
from onnxwright.staging import staged


def feeds(batch=2, sequence=3):
    ids = np.arange(batch * sequence, dtype=np.int64).reshape(batch, sequence)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def write(out, failure=None, meanwhile=lambda: None):
    with staged(out, is_forced=False) as folder:
        (folder / "a.txt").write_text("a")
        meanwhile()
        if failure:
            raise failure


class TestStaged:
    def test_moves_the_finished_folder_to_its_place(self, tmp_path):
        with staged(tmp_path / "out", is_forced=False) as folder:
            (folder / "a.txt").write_text("a")
            assert folder.parent == tmp_path
            assert not (tmp_path / "out").exists()
        assert (tmp_path / "out" / "a.txt").read_text() == "a"
        assert hidden(tmp_path) == []

    @pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
    def test_leaves_nothing_after_a_failure(self, tmp_path, failure):
        with pytest.raises(failure):
            write(tmp_path / "out", failure)
        assert list(tmp_path.iterdir()) == []

    def test_refuses_a_folder_that_exists(self, tmp_path):
        (tmp_path / "out").mkdir()
        with pytest.raises(OutputError, match=r"exists already.*--force"), staged(tmp_path / "out", is_forced=False):
            pass

    def test_refuses_a_folder_that_came_into_being_meanwhile(self, tmp_path):
        out = tmp_path / "out"
        with pytest.raises(OutputError, match="exists already"):
            write(out, meanwhile=lambda: (out.mkdir(), (out / "theirs").write_text("x")))
        assert (out / "theirs").read_text() == "x"
        assert hidden(tmp_path) == []

    @pytest.mark.parametrize("is_forced", [False, True])
    def test_refuses_a_file(self, tmp_path, is_forced):
        (tmp_path / "out").write_text("precious")
        with pytest.raises(OutputError, match="expected a folder"), staged(tmp_path / "out", is_forced=is_forced):
            pass
        assert (tmp_path / "out").read_text() == "precious"

    def test_refuses_a_link(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "out").symlink_to(tmp_path / "real")
        with pytest.raises(OutputError, match="a file or a link"), staged(tmp_path / "out", is_forced=True):
            pass

    def test_refuses_a_missing_parent(self, tmp_path):
        with (
            pytest.raises(OutputError, match="parent folder doesn't exist"),
            staged(tmp_path / "no" / "out", is_forced=False),
        ):
            pass

    def test_refuses_a_parent_that_cannot_be_written(self, tmp_path, monkeypatch):
        def refuse(*_args, **_keywords):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(staging.Path, "mkdir", refuse)
        with (
            pytest.raises(OutputError, match=r"can't write into .*Permission denied"),
            staged(tmp_path / "out", is_forced=False),
        ):
            pass

    def test_force_replaces_a_package(self, tmp_path, counting):
        out = counting("out")
        with staged(out, is_forced=True) as folder:
            (folder / "new").write_text("new")
            assert (out / FILE_NAME).exists()
        assert [path.name for path in out.iterdir()] == ["new"]
        assert hidden(tmp_path) == []

    def test_force_replaces_an_empty_folder(self, tmp_path):
        (tmp_path / "out").mkdir()
        with staged(tmp_path / "out", is_forced=True) as folder:
            (folder / "new").write_text("new")
        assert (tmp_path / "out" / "new").exists()

    def test_force_keeps_a_folder_of_something_else(self, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("precious")
        with (
            pytest.raises(OutputError, match=r"packages and empty folders only.*Remove it yourself"),
            staged(tmp_path / "out", is_forced=True),
        ):
            pass
        assert (tmp_path / "out" / "thesis.tex").read_text() == "precious"

    def test_failed_replacement_brings_the_old_package_back(self, tmp_path, counting, monkeypatch):
        out = counting("out")
        rename = staging.Path.rename

        def fail_for_new(path, target):
            if path.name.endswith(".partial"):
                raise OSError(errno.EIO, "Input/output error")
            return rename(path, target)

        monkeypatch.setattr(staging.Path, "rename", fail_for_new)
        with pytest.raises(OSError, match="Input/output"), staged(out, is_forced=True):
            pass
        assert Package.open(out).signature.input_names == ("input_ids", "attention_mask")
        assert hidden(tmp_path) == []

    def test_says_that_there_is_no_space_left(self, tmp_path):
        with pytest.raises(OutputError, match=r"no space left.*Free some"), staged(tmp_path / "out", is_forced=False):
            raise OSError(errno.ENOSPC, "No space left on device")
        assert list(tmp_path.iterdir()) == []

    def test_finds_a_full_disk_behind_other_errors(self, tmp_path):
        failure = RouteError("the exporter raised")
        failure.__cause__ = OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(OutputError, match="no space left"):
            write(tmp_path / "out", failure)

    def test_full_disk_for_real(self):
        if not os.access("/dev/full", os.W_OK):
            pytest.skip("no /dev/full")
        with pytest.raises(OSError, match="No space left") as full:
            Path("/dev/full").write_bytes(b"x")
        assert staging.is_full(full.value)

    def test_other_errors_pass(self, tmp_path):
        with pytest.raises(OSError, match="Bad"), staged(tmp_path / "out", is_forced=False):
            raise OSError(errno.EBADF, "Bad file descriptor")

    def test_killed_process_leaves_no_package_and_the_next_run_cleans_up(self, tmp_path):
        out = tmp_path / "out"
        code = (
            "import sys, time, pathlib\n"
            "from onnxwright.staging import staged\n"
            "with staged(pathlib.Path(sys.argv[1]), is_forced=False) as folder:\n"
            "    (folder / 'half').write_text('half'); print('ready', flush=True); time.sleep(60)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        with staged(tmp_path / "out", is_forced=False):
            assert len(hidden(tmp_path)) == 2, "the folder of a running process stays"
        (out).rmdir()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not out.exists()
        assert len(hidden(tmp_path)) == 1
        with staged(out, is_forced=False):
            assert len(hidden(tmp_path)) == 1
        assert hidden(tmp_path) == []

    def test_package_set_aside_by_a_killed_process_comes_back(self, tmp_path, counting):
        out = counting("out")
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        out.rename(tmp_path / f".out.{gone.pid}.0123abcd.replaced")
        with pytest.raises(OutputError, match="exists already"), staged(out, is_forced=False):
            pass
        assert Package.open(out).proof.verdict == "proven"

    def test_interrupt_in_another_process_removes_everything(self, tmp_path):
        code = (
            "import sys, time, pathlib\n"
            "from onnxwright.staging import staged\n"
            "with staged(pathlib.Path(sys.argv[1]), is_forced=False):\n"
            "    print('ready', flush=True); time.sleep(60)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        process.wait()
        assert list(tmp_path.iterdir()) == []


class TestWriteManifest:
    def test_round_trip(self, graph, manifest_of):
        file = graph()
        manifest = manifest_of(file)
        write_manifest(file.parent.parent, manifest)
        assert Package.open(file.parent.parent).manifest == manifest
        assert hidden(file.parent.parent) == []

    def test_keeps_the_old_one_when_writing_fails(self, counting, monkeypatch):
        folder = counting()
        before = (folder / FILE_NAME).read_bytes()

        def fail(path):
            if path.suffix == ".partial":
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(staging, "sync", fail)
        with pytest.raises(OSError, match="No space"):
            write_manifest(folder, Package.open(folder).manifest)
        assert (folder / FILE_NAME).read_bytes() == before


class TestOpen:
    def test_names_a_missing_folder(self, tmp_path):
        with pytest.raises(SourceError, match=r"no such folder.*onnxwright convert"):
            Package.open(tmp_path / "missing")

    def test_refuses_a_folder_without_manifest(self, tmp_path):
        with pytest.raises(SourceError, match=r"is not a package.*has no onnxwright.json"):
            Package.open(tmp_path)

    def test_refuses_a_truncated_manifest(self, counting):
        file = counting() / FILE_NAME
        file.write_bytes(file.read_bytes()[:200])
        with pytest.raises(SourceError, match="is not whole"):
            Package.open(file.parent)

    @pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schema": 1}', b"\xff\xfe", b'{"schema": "one"}'])
    def test_refuses_what_is_no_manifest(self, counting, content):
        folder = counting()
        (folder / FILE_NAME).write_bytes(content)
        with pytest.raises(SourceError, match="is not whole"):
            Package.open(folder)

    def test_refuses_another_schema(self, counting):
        folder = counting()
        (folder / FILE_NAME).write_text('{"schema": 7}')
        with pytest.raises(SourceError, match="has schema 7, this version reads 1"):
            Package.open(folder)

    def test_refuses_a_finding_that_only_a_newer_version_knows(self, counting):
        folder = counting()
        content = json.loads((folder / FILE_NAME).read_text())
        content["findings"] = [{"code": "of-the-future", "message": "?", "where": None, "repair": None}]
        (folder / FILE_NAME).write_text(json.dumps(content))
        with pytest.raises(SourceError, match="finding 'of-the-future' is unknown to this version"):
            Package.open(folder)

    def test_refuses_a_missing_graph(self, counting):
        folder = counting()
        (folder / "onnx" / "model.onnx").unlink()
        with pytest.raises(SourceError, match=r"'onnx/model.onnx' is missing"):
            Package.open(folder)

    def test_refuses_missing_evidence(self, counting):
        folder = counting(evidence=Evidence("evidence.npz", "0" * 64, 3))
        with pytest.raises(SourceError, match=r"'evidence.npz' is missing"):
            Package.open(folder)

    @pytest.mark.parametrize("name", ["../elsewhere.onnx", "onnx/../../elsewhere.onnx", "/etc/hostname"])
    def test_refuses_a_file_outside(self, counting, tmp_path, name):
        folder = counting()
        (tmp_path / "elsewhere.onnx").write_text("x")
        text = (folder / FILE_NAME).read_text().replace("onnx/model.onnx", name)
        (folder / FILE_NAME).write_text(text)
        with pytest.raises(SourceError, match="leads out of the folder"):
            Package.open(folder)

    @pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data"])
    def test_refuses_a_link_that_leads_out(self, counting, tmp_path, name):
        folder = counting()
        outside = tmp_path / "outside"
        outside.write_bytes((folder / "onnx" / "model.onnx").read_bytes())
        (folder / "onnx" / name).unlink(missing_ok=True)
        (folder / "onnx" / name).symlink_to(outside)
        with pytest.raises(SourceError, match="leads out of the folder"):
            Package.open(folder)

    @pytest.mark.parametrize(
        ("location", "words"),
        [
            ("../../outside", r"data '../../outside' leads out of the folder"),
            ("/etc/hostname", r"data '/etc/hostname' leads out of the folder"),
            ("C:\\data", r"leads out of the folder"),
            ("gone.data", r"'onnx/gone.data' is missing"),
            ("linked.data", r"'onnx/linked.data' leads out of the folder"),
        ],
    )
    def test_refuses_weights_that_lie_elsewhere(self, counting, tmp_path, location, words):
        folder = counting()
        (tmp_path / "outside").write_bytes(b"\x00" * 8)
        (folder / "onnx" / "linked.data").symlink_to(tmp_path / "outside")
        model = onnx.load(folder / "onnx" / "model.onnx")
        weight = onnx.numpy_helper.from_array(np.zeros(2, np.float32), "w")
        onnx.external_data_helper.set_external_data(weight, location)
        model.graph.initializer.append(weight)
        (folder / "onnx" / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(SourceError, match=words):
            Package.open(folder)

    def test_takes_the_links_of_the_hub_cache(self, counting, tmp_path):
        snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
        snapshot.parent.mkdir(parents=True)
        counting().rename(snapshot)
        blob = tmp_path / "models--a--b" / "blobs" / "abc"
        blob.parent.mkdir()
        (snapshot / "onnx" / "model.onnx").rename(blob)
        (snapshot / "onnx" / "model.onnx").symlink_to(blob)
        assert Package.open(snapshot).session().run(feeds())["sentence_embedding"].tolist() == [[3, 3], [12, 3]]

    def test_refuses_a_default_that_is_no_variant(self, counting):
        folder = counting(default=Default("other", "onnxruntime"))
        with pytest.raises(SourceError, match="default variant 'other' is not among"):
            Package.open(folder)

    def test_offers_what_the_manifest_says(self, counting):
        package = Package.open(str(counting(task="embedding")))
        assert package.task == "embedding"
        assert package.proof.range == {"batch": (1, 4), "sequence": (1, 16)}
        assert package.profile.most == {"batch": 4, "sequence": 16}
        assert package.file().name == "model.onnx"

    def test_names_the_variants_it_has(self, counting):
        with pytest.raises(UsageError, match="variant 'int8': this package has no such variant; expected one of model"):
            Package.open(counting()).file("int8")

    def test_member_refuses_a_folder(self, tmp_path):
        with pytest.raises(SourceError, match="is missing"):
            member(tmp_path, ".")


class TestSession:
    def test_answers_by_name(self, counting):
        session = Package.open(counting()).session()
        assert session.run(feeds())["sentence_embedding"].tolist() == [[3, 3], [12, 3]]
        assert session.range == {"batch": (1, 4), "sequence": (1, 16)}
        assert session.ran.backend == "onnxruntime"
        assert session.signature.output_names == ("sentence_embedding",)

    def test_takes_the_ends_of_the_range(self, counting):
        session = Package.open(counting()).session()
        for sizes in [(1, 1), (4, 16)]:
            assert session.run(feeds(*sizes))["sentence_embedding"].shape == (sizes[0], 2)

    @pytest.mark.parametrize(
        ("sizes", "words"),
        [
            ((5, 3), "dim 'batch': got size 5, proven for 1 to 4"),
            ((1, 17), "dim 'sequence': got size 17, proven for 1 to 16"),
            ((0, 3), "dim 'batch': got size 0"),
        ],
    )
    def test_refuses_sizes_outside_the_proven_range(self, counting, sizes, words):
        with pytest.raises(OutOfRangeError, match=words):
            Package.open(counting()).session().run(feeds(*sizes))

    def test_refuses_what_does_not_fit_the_signature(self, counting):
        session = Package.open(counting()).session()
        with pytest.raises(SignatureError, match="missing 'attention_mask'"):
            session.run({"input_ids": feeds()["input_ids"]})
        with pytest.raises(SignatureError, match=r"got list.*numpy.asarray"):
            session.run({**feeds(), "input_ids": [[1, 2, 3]]})

    def test_refuses_an_altered_file(self, counting):
        folder = counting()
        with (folder / "onnx" / "model.onnx").open("ab") as stream:
            stream.write(b"\x00")
        with pytest.raises(SourceError, match="was altered: expected sha256"):
            Package.open(folder).session()

    def test_refuses_an_altered_weights_file(self, counting):
        folder = counting()
        (folder / "onnx" / "model.onnx.data").write_bytes(b"more")
        with pytest.raises(SourceError, match="was altered"):
            Package.open(folder).session()

    def test_lists_engines_with_a_proof_that_are_here(self, counting):
        package = Package.open(counting(engines=("engine-of-the-future", "openvino", "onnxruntime")))
        assert package.engines() == ["openvino", "onnxruntime"]

    def test_names_the_engines_for_an_unknown_one(self, counting):
        with pytest.raises(EngineError, match=r"engine 'tvm' is unknown; expected one of .*onnxruntime"):
            Package.open(counting()).session("tvm")

    def test_refuses_an_engine_without_proof(self, counting):
        with pytest.raises(EngineError, match=r"'openvino': not proven for this package. Proven: onnxruntime"):
            Package.open(counting()).session("openvino")

    @pytest.mark.parametrize("change", ["failed", "not executed", "no proof"])
    def test_a_failed_proof_is_none(self, counting, proof_of, change):
        folder = counting()
        package = Package.open(folder)
        ranges = {"batch": (1, 4), "sequence": (1, 16)}
        found = {
            "failed": EngineProof(executed=True, proof=proof_of(ranges, "failed")),
            "not executed": EngineProof(executed=False, proof=proof_of(ranges)),
            "no proof": EngineProof(executed=True, proof=None),
        }[change]
        variant = msgspec.structs.replace(package.manifest.variants["model"], engines={"onnxruntime": found})
        write_manifest(folder, msgspec.structs.replace(package.manifest, variants={"model": variant}))
        with pytest.raises(EngineError, match="Proven: none"):
            Package.open(folder).session("onnxruntime")
        with pytest.raises(EngineError, match=r"no engine .* proven with none"):
            Package.open(folder).session()

    def test_auto_falls_back_to_another_proven_engine(self, counting):
        folder = counting(engines=("onnxruntime", "tensorrt-of-the-future"))
        manifest = Package.open(folder).manifest
        write_manifest(folder, msgspec.structs.replace(manifest, default=Default("model", "tensorrt-of-the-future")))
        assert Package.open(folder).session().ran.backend == "onnxruntime"

    def test_auto_says_why_no_engine_is_here(self, counting):
        folder = counting(engines=("tensorrt-of-the-future",))
        with pytest.raises(EngineError, match=r"is available here .tensorrt-of-the-future: unknown to this version"):
            Package.open(folder).session()

    def test_honours_the_range_of_the_engine_not_of_the_variant(self, counting, proof_of):
        folder = counting()
        package = Package.open(folder)
        narrow = EngineProof(executed=True, proof=proof_of({"batch": (1, 2), "sequence": (1, 16)}, "partial"))
        variant = msgspec.structs.replace(package.manifest.variants["model"], engines={"onnxruntime": narrow})
        write_manifest(folder, msgspec.structs.replace(package.manifest, variants={"model": variant}))
        with pytest.raises(OutOfRangeError, match="proven for 1 to 2"):
            Package.open(folder).session().run(feeds(3, 3))

    def test_refuses_a_proof_that_lacks_a_dim(self, counting):
        folder = counting(ranges={"batch": (1, 4)})
        with pytest.raises(SourceError, match="no range for dim 'sequence'"):
            Package.open(folder).session()

    def test_uses_the_threads_that_are_asked_for(self, counting):
        assert Package.open(counting()).session(threads=1).ran.threads == 1


def test_manifest_is_ordinary_json(counting):
    content = json.loads((counting() / FILE_NAME).read_text())
    assert content["schema"] == 1
    assert content["signature"]["inputs"][0] == {"name": "input_ids", "dtype": "int64", "shape": ["batch", "sequence"]}
