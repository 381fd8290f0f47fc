"""Writes a folder or a file whole or not at all: under a hidden name beside its place, to which it moves at the end."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from onnxwright.errors import OutputError
from onnxwright.manifest import FILE_NAME

_PARTIAL: Final = "partial"
_REPLACED: Final = "replaced"
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@contextmanager
def staged(out: Path, *, is_forced: bool, mark: str = FILE_NAME) -> Iterator[Path]:
    """Yields a new folder beside `out`, and makes it `out` when the block ends without an exception.

    What an earlier, killed process left for the same `out` is removed first, and a package that it had set
    aside comes back. `mark` is the file by which a folder is known that may be replaced.

    Raises:
        OutputError: when `out` exists (with `is_forced`: when it is neither a package nor an empty folder),
            when its parent can't be written, or when there is no space left.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100 - `resolve` would follow a link that stands at `out`
    _recover(out)
    _check_place(out, mark, is_forced=is_forced)
    staging = _new_sibling(out, _PARTIAL)
    try:
        _create(staging.mkdir, out)
        yield staging
        _check_place(out, mark, is_forced=is_forced)
        _move(staging, out)
    except BaseException as failure:
        shutil.rmtree(staging, ignore_errors=True)
        _refuse_if_full(failure, out)
        raise


@contextmanager
def staged_file(out: Path, *, is_forced: bool) -> Iterator[Path]:
    """Yields the name of a new file beside `out`, and makes it `out` when the block ends without an exception.

    Raises:
        OutputError: when `out` exists (with `is_forced`: when it is a folder), when its folder doesn't exist or can't
            be written, or when there is no space left.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100 - `resolve` would follow a link that stands at `out`
    _check_file_place(out, is_forced=is_forced)
    for partial in _left_behind(out, _PARTIAL):
        partial.unlink(missing_ok=True)
    draft = _new_sibling(out, _PARTIAL)
    try:
        _create(draft.touch, out)
        yield draft
        sync(draft)
        _check_file_place(out, is_forced=is_forced)
        draft.replace(out)
        sync(out.parent)
    except BaseException as failure:
        draft.unlink(missing_ok=True)
        _refuse_if_full(failure, out)
        raise


def write_last(file: Path, content: bytes) -> None:
    """Writes a file after everything else in its folder has reached the disk, and in one step."""
    sync_folder(file.parent)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_bytes(content)
    sync(partial)
    partial.replace(file)
    sync(file.parent)


def sync_folder(folder: Path) -> None:
    """Waits until every file in a folder, and the folder itself, has reached the disk."""
    for path in (*sorted(folder.rglob("*")), folder):
        sync(path)


def sync(path: Path) -> None:
    """Waits until one file, or one folder's list of names, has reached the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows can't open a folder
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_if_full(failure: BaseException, out: Path) -> None:
    if is_full(failure):
        raise OutputError(f"output '{out}': no space left on the device. Free some, or write elsewhere.") from failure


def _check_parent(out: Path) -> None:
    if not out.parent.is_dir():
        raise OutputError(f"output '{out}': its parent folder doesn't exist. Create '{out.parent}' first.")


def _check_file_place(out: Path, *, is_forced: bool) -> None:
    _check_parent(out)
    if out.is_dir():
        raise OutputError(f"output '{out}': expected the name of a file, got a folder. Choose another name.")
    if os.path.lexists(out) and not is_forced:
        raise OutputError(f"output '{out}' exists already. Choose another name, or replace it with --force.")


def _check_place(out: Path, mark: str, *, is_forced: bool) -> None:
    _check_parent(out)
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_dir():
        raise OutputError(
            f"output '{out}': expected a folder, got a file or a link. Remove it, or choose another place."
        )
    if not is_forced:
        raise OutputError(f"output '{out}' exists already. Choose another folder, or replace it with --force.")
    if any(out.iterdir()) and not (out / mark).is_file():
        kind = "packages" if mark == FILE_NAME else "engines"
        raise OutputError(
            f"output '{out}': --force replaces {kind} and empty folders only, and this holds other files "
            f"(no {mark}). Remove it yourself, or choose another folder."
        )


def _create(make: Callable[[], None], out: Path) -> None:
    try:
        make()
    except OSError as refusal:
        if is_full(refusal):
            raise
        reason = refusal.strerror or str(refusal)
        raise OutputError(
            f"output '{out}': can't write into '{out.parent}' ({reason}). Choose a folder that you may write to."
        ) from refusal


def _move(staging: Path, out: Path) -> None:
    sync(staging)
    if not out.exists():
        staging.rename(out)
        sync(out.parent)
        return
    aside = _new_sibling(out, _REPLACED)
    out.rename(aside)
    try:
        staging.rename(out)
    except BaseException:
        aside.rename(out)
        raise
    sync(out.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _new_sibling(out: Path, kind: str) -> Path:
    return out.with_name(f".{out.name}.{os.getpid()}.{secrets.token_hex(4)}.{kind}")


def _recover(out: Path) -> None:
    for aside in _left_behind(out, _REPLACED):
        if os.path.lexists(out):
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(out)
    for partial in _left_behind(out, _PARTIAL):
        shutil.rmtree(partial, ignore_errors=True)


def _left_behind(out: Path, kind: str) -> list[Path]:
    pattern = re.compile(rf"\.{re.escape(out.name)}\.(\d+)\.[0-9a-f]{{8}}\.{kind}")
    if not out.parent.is_dir():
        return []
    found = ((path, pattern.fullmatch(path.name)) for path in out.parent.iterdir())
    return [path for path, match in found if match and not _is_running(int(match[1]))]


def _is_running(pid: int) -> bool:
    if os.name == "nt":
        return True  # `os.kill` ends a process there, whatever the signal
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def is_full(failure: BaseException | None) -> bool:
    """Whether a full disk is behind a failure, however many exceptions were raised on top of it."""
    seen: set[int] = set()
    while failure is not None and id(failure) not in seen:
        if isinstance(failure, OSError) and failure.errno in _FULL:
            return True
        seen.add(id(failure))
        failure = failure.__cause__ or failure.__context__
    return False
