"""Lower precisions of MiniLM side by side: ours within budgets, and what other tools make by their defaults.

All are made with the same half of the samples, and judged on what none of them saw: how well similarities of Lee-50
and WordSim-353 agree with those that people gave (Spearman), the mean cosine between the vectors of news texts and
those of PyTorch in float32, and the share of them whose nearest neighbour stays the same. Speed is the ratio to
OpenVINO in bfloat16, pair by pair. The data come inside a package, which is fetched into --data.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engines import Embedder, TorchSession
from onnxwright import environment
from onnxwright.artifact import Package
from onnxwright.backends import Array, Options, Session, Tensors, engine
from onnxwright.errors import EngineError
from onnxwright.estimates import spearman
from onnxwright.stages.measure import Plan, measure
from onnxwright.tasks.embedding import SENTENCE_EMBEDDING
from onnxwright.text import Tokenizer
from record import ONNXWRIGHT, keep, minilm

BASELINE = "openvino bfloat16"
DATA = "gensim==4.4.0"
BUDGETS = (0.0001, 0.001)
SHAPES = ({"batch": 1, "sequence": 16}, {"batch": 1, "sequence": 128}, {"batch": 8, "sequence": 128})
LONGEST = 256


class Data:
    """Texts with what people say of them, from the test data of gensim."""

    def __init__(self, place: Path):
        self.folder = _fetched(place)

    def lines(self, name: str) -> list[str]:
        """Returns the lines of a file that hold something."""
        text = (self.folder / name).read_text(encoding="utf-8", errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()]

    def lee(self) -> tuple[list[str], Array]:
        """Returns fifty documents, and how alike people find each two of them: float64[50, 50]."""
        return self.lines("lee.cor"), np.loadtxt(self.folder / "similarities0-1.txt")

    def words(self) -> tuple[list[str], list[str], list[float]]:
        """Returns pairs of words, and how alike people find them."""
        rows = [line.split("\t") for line in self.lines("wordsim353.tsv") if not line.startswith("#")]
        known = [row for row in rows if len(row) >= 3 and row[2].replace(".", "").isdigit()]
        return [row[0] for row in known], [row[1] for row in known], [float(row[2]) for row in known]

    def news(self) -> tuple[list[str], list[str]]:
        """Returns news texts in two halves: one to make variants with, the other to judge them."""
        lines = self.lines("lee_background.cor")
        return lines[::2], lines[1::2]


def _fetched(place: Path) -> Path:
    folder = place / "gensim" / "test" / "test_data"
    if not folder.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place), DATA]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(place.glob("gensim-*.whl"))) as wheel:
            wheel.extractall(place)
    return folder


class Judge:
    """How well sessions answer what none of them was made with."""

    def __init__(self, data: Data, tokenizer: Tokenizer, reference: Session):
        self._tokenizer = tokenizer
        self._lee, self._words, (_, self._news) = data.lee(), data.words(), data.news()
        self._right = self._vectors(reference, self._news)

    def quality(self, session: Session) -> dict[str, float]:
        """Returns agreement with people, and with PyTorch."""
        texts, alike = self._lee
        first, second, scores = self._words
        upper = np.triu_indices(len(texts), 1)
        of_texts = self._vectors(session, texts)
        pairs = np.sum(self._vectors(session, first) * self._vectors(session, second), axis=1)
        found = self._vectors(session, self._news)
        return {
            "lee-50": spearman((of_texts @ of_texts.T)[upper], alike[upper]),
            "wordsim-353": spearman(pairs, np.array(scores)),
            "cosine": float(np.sum(self._right * found, axis=1).mean()),
            "neighbours": float((_nearest(found) == _nearest(self._right)).mean()),
        }

    def _vectors(self, session: Session, texts: Sequence[str]) -> Array:
        return np.concatenate([session.run(one)[SENTENCE_EMBEDDING] for one in feeds(self._tokenizer, texts)])


def _nearest(vectors: Array) -> Array:
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -np.inf)
    return np.asarray(alike.argmax(axis=1))


def feeds(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[Tensors]:
    """Encodes each text alone."""
    for one in tokenizer.encode(list(texts), max_length=LONGEST):
        yield {
            "input_ids": np.array([one.ids]),
            "attention_mask": np.array([one.attention_mask]),
            "token_type_ids": np.array([one.type_ids]),
        }


def ours(folder: Path, samples: Path, place: Path) -> Iterator[tuple[str, Session, dict[str, Any]]]:
    """Yields what `onnxwright quantize` keeps within each budget, as a user would have it."""
    for budget in BUDGETS:
        out = place / f"within-{budget}"
        command = [ONNXWRIGHT, "quantize", str(folder), "-o", str(out), "--max-accuracy-loss", str(budget)]
        subprocess.run([*command, "--samples", str(samples), "--sequence", "1", "128", "256"], check=True)
        package = Package.open(out)
        default = package.manifest.default
        variant = package.manifest.variants[default.variant]
        options = Options(environment.cores(), variant.execution)
        session = engine(default.engine).prepare(package.file(), options)
        told = {"variant": default.variant, "engine": default.engine, "told": _told(package, default.engine)}
        yield f"ours within {budget:g}", session, told


def _told(package: Package, name: str) -> str:
    record = package.manifest.quantizations.get(name)
    return "" if record is None else record.told


def peers(graph: Path, calibration: Sequence[Tensors], place: Path) -> Iterator[tuple[str, Callable[[], Session]]]:
    """Yields what makes the variants of other tools, each by its defaults."""
    threads = environment.cores()
    for name, precision in (("openvino", "bfloat16"), ("openvino", "float32"), ("onnxruntime", "float32")):
        yield f"{name} {precision}", functools.partial(engine(name).prepare, graph, Options(threads, precision))
    for way, make in (("dynamic", _dynamic), ("static", _static), ("nncf", _nncf)):
        file = place / f"{way}.onnx"
        for name in ("onnxruntime", "openvino"):

            def load(make: Any = make, file: Path = file, name: str = name) -> Session:
                if not file.exists():
                    make(graph, file, calibration)
                return engine(name).prepare(file, Options(threads))

            label = "NNCF default" if way == "nncf" else f"ORT quantize_{way}"
            yield f"{label} in {name}", load


def _dynamic(graph: Path, file: Path, _: Sequence[Tensors]) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(graph, file)


def _static(graph: Path, file: Path, calibration: Sequence[Tensors]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(calibration)

        def get_next(self) -> Any:
            return next(self._left, None)

    quantize_static(graph, file, Reader())


def _nncf(graph: Path, file: Path, calibration: Sequence[Tensors]) -> None:
    try:
        import nncf
    except ImportError as missing:
        raise EngineError("the package 'nncf' is not installed.") from missing
    import onnx

    dataset = nncf.Dataset([dict(one) for one in calibration])
    onnx.save(nncf.quantize(onnx.load(graph), dataset, model_type=nncf.ModelType.TRANSFORMER), file)


def main() -> None:
    """Makes, judges and measures all, and keeps the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "onnxwright-data")
    parser.add_argument("--runs", type=int, default=40)
    arguments = parser.parse_args()
    data, folder = Data(arguments.data), minilm()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        samples = place / "news.txt"
        samples.write_text("\n".join(data.news()[0]), encoding="utf-8")
        tokenizer = Tokenizer.open(folder)
        torch_session = TorchSession("torch", Embedder(folder).eval(), (SENTENCE_EMBEDDING,))
        judge = Judge(data, tokenizer, torch_session)
        sessions, told = _sessions(folder, samples, place, list(feeds(tokenizer, data.news()[0][:64])))
        qualities = {"torch float32": judge.quality(torch_session)}
        qualities |= {name: judge.quality(one) for name, one in sessions.items()}
        found = measure(
            sessions, [_shaped(sizes) for sizes in SHAPES], baseline=BASELINE, plan=Plan(arguments.runs, 240)
        )
    rows = [
        {"name": name, "quality": qualities[name], "latencies": one.latencies, "ran": one.ran, **told.get(name, {})}
        for name, one in found.items()
    ]
    _show(rows, qualities["torch float32"])
    keep("precision", {"baseline": BASELINE, "torch": qualities["torch float32"], "rows": rows})


def _sessions(
    folder: Path, samples: Path, place: Path, calibration: Sequence[Tensors]
) -> tuple[dict[str, Session], dict[str, dict[str, Any]]]:
    sessions: dict[str, Session] = {}
    told: dict[str, dict[str, Any]] = {}
    for name, session, words in ours(folder, samples, place):
        sessions[name], told[name] = session, words
    graph = Package.open(place / f"within-{BUDGETS[0]}").file("fp32")
    for name, load in peers(graph, calibration, place):
        try:
            sessions[name] = load()
        except Exception as refusal:  # noqa: BLE001 - tools of others raise what they like; the others are measured
            print(f"{name}: left out: {str(refusal)[:200]}")
    return sessions, told


def _shaped(sizes: Mapping[str, int]) -> tuple[Mapping[str, int], Tensors]:
    shape = (sizes["batch"], sizes["sequence"])
    ids = np.random.default_rng(0).integers(1000, 20000, shape)
    return sizes, {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def _show(rows: Sequence[Mapping[str, Any]], right: Mapping[str, float]) -> None:
    print(f"{'torch float32':36} " + " ".join(f"{name} {part:.4f}" for name, part in right.items()))
    for row in rows:
        quality = " ".join(f"{part:.4f}" for part in row["quality"].values())
        speeds = " ".join(f"{one.speedup:5.2f}" for one in row["latencies"])
        print(f"{row['name']:36} {quality}   {speeds}")


if __name__ == "__main__":
    main()
