"""Says what a package or an ONNX file is: as JSON, or as text in columns that `grep` and people can read."""

from __future__ import annotations

from pathlib import Path

from onnxwright import backends, environment
from onnxwright.artifact import Package
from onnxwright.errors import SourceError
from onnxwright.manifest import Manifest
from onnxwright.reports.outline import GraphReport, outline
from onnxwright.reports.summary import PackageReport

Report = PackageReport | GraphReport


def inspect(path: str | Path) -> Report:
    """Describes a package folder or an `.onnx` file.

    Raises:
        SourceError: when there is nothing there, or it is neither.
        MissingExtraError: for an `.onnx` file, when the package `onnx` is not installed.
    """
    path = environment.at_home(path)
    if path.is_dir():
        package = Package.open(path)
        return PackageReport(str(path), package.manifest, _available(package.manifest))
    if not path.exists():
        raise SourceError(f"'{path}': no such file or folder. Give a package folder or an .onnx file.")
    return outline(path)


def _available(manifest: Manifest) -> dict[str, str | None]:
    known = backends.engines()
    names = dict.fromkeys(name for variant in manifest.variants.values() for name in variant.engines)
    return {name: known[name].available() if name in known else "unknown to this version" for name in names}
