"""The encoding of Protocol Buffers, as far as an ONNX file can be read and written in parts with it."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Content = bytes | mmap.mmap


class Field(NamedTuple):
    """One field of a message: its number, its value where that is a whole number, and where it and its bytes lie."""

    number: int
    value: int
    begin: int
    start: int
    end: int


def fields(content: Content, at: int, end: int) -> Iterator[Field]:
    """Yields the fields of the message that lies there.

    Raises:
        ValueError: when there is no message.
        IndexError: when it ends in the middle of a field.
    """
    while at < end:
        begin = at
        key, at = _varint(content, at)
        value, start, at = _payload(content, key & 7, at)
        if at > end:
            raise ValueError("a field is longer than its message")
        yield Field(key >> 3, value, begin, start, at)


def within(content: Content, message: Field, number: int) -> Iterator[Field]:
    """Yields the fields of a number in the message that a field holds."""
    return (field for field in fields(content, message.start, message.end) if field.number == number)


def texts(content: Content, message: Field, number: int) -> Iterator[str]:
    """Yields the texts in the fields of a number in the message that a field holds."""
    return (content[field.start : field.end].decode() for field in within(content, message, number))


def text(content: Content, message: Field, number: int) -> str:
    """Returns the first text of such fields, or an empty one."""
    return next(texts(content, message, number), "")


def packed(content: Content, at: int, end: int) -> Iterator[int]:
    """Yields the whole numbers of a packed field."""
    while at < end:
        value, at = _varint(content, at)
        yield value


def head(number: int, length: int) -> bytes:
    """Returns what stands before the bytes of a field that holds so many."""
    return varint(number << 3 | _BYTES) + varint(length)


def varint(value: int) -> bytes:
    """Encodes a whole number."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _payload(content: Content, wire_type: int, at: int) -> tuple[int, int, int]:
    if wire_type == _VARINT:
        value, at = _varint(content, at)
        return value, at, at
    if wire_type == _BYTES:
        length, at = _varint(content, at)
        return 0, at, at + length
    if wire_type in (_FIXED64, _FIXED32):
        return 0, at, at + (8 if wire_type == _FIXED64 else 4)
    raise ValueError(f"wire type {wire_type} is not of Protocol Buffers")


def _varint(content: Content, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
