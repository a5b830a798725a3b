"""Spoils a file that a person wrote, in the ways that files are spoilt. The same random numbers give the same files.

Mutations know YAML and JSON: they replace values by what readers stumble over, and not only single bytes.
"""

import random
import re
from collections.abc import Iterator

NASTY = (
    b"2026-13-45",
    b"0001-01-01T00:00:00+23:59",
    b"9" * 5000,
    b"0x" + b"f" * 5000,
    b"1e999",
    b"-.inf",
    b".nan",
    b"-1",
    b"0",
    b"1" + b"0" * 30,
    b"99999999999",
    b"1:2:3",
    b'!!int "abc"',
    b'!!float "abc"',
    b'!!timestamp "abc"',
    b'!!bool "abc"',
    b'!!int ""',
    b'!!binary "%%%"',
    b"!!set {a, b}",
    b"!!omap [a: 1]",
    b"!!python/object:os.system {}",
    b"!!map 5",
    b'"\\ud800"',
    b'"\\udc80x"',
    b'"\\0"',
    b'"\\UFFFFFFFF"',
    b'"' + "\N{PILE OF POO}".encode() + b'"',
    b"[" * 60 + b"]" * 60,
    b"[" * 100_000,
    b"{a: " * 500,
    b'{"a": ' * 500,
    b"? [1, 2]\n: 3",
    b"{[1, 2]: 3}",
    b"{1: 2, x: 3}",
    b"{a: 1, a: 2}",
    b"<<: 5",
    b"&a [*a]",
    b"[&a [x, x, x, x], &b [*a, *a, *a, *a], &c [*b, *b, *b, *b], &d [*c, *c, *c, *c], *d]",
    b"~",
    b"''",
    b"[]",
    b"{}",
    b"true",
    b"text",
    b"a" * 200_000,
    b"[" + b"1, " * 5000 + b"1]",
    b"~nobody-of-this-name/x",
    b"../" * 2000,
    b"$(HOME)",
    b"(?P<epoch>(",
    b"(?P<epoch>a{99999999999})",
    b"{epoch:099999999999d}",
    b"{epoch:06d}{epoch:06d}",
    b"\xff\xfe",
    b"\x00",
    b"\t",
    b"\x85\xe2\x80\xa8",
)
"""Values that readers stumble over: impossible, enormous, deep, of another type, half a character."""
_VALUE = re.compile(rb"(?<=[:\[,\-] )[^,:\[\]{}\n]+|(?<=\[)[^,:\[\]{}\n]+")
_KEY = re.compile(rb"\b[A-Za-z_]{1,40}(?=\"?:)")


def mutations(data: bytes, chance: random.Random, count: int) -> Iterator[bytes]:
    """`count` spoilt versions of a file, each by one to three mutations."""
    for _ in range(count):
        made = data
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            made = chance.choice((_value, _value, _value, _key, _line, _bytes, _cut, _repeated))(made, chance)
        yield made


def _replaced(pattern: re.Pattern[bytes], data: bytes, chance: random.Random) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return data + chance.choice(NASTY)
    at = chance.choice(found)
    return data[: at.start()] + chance.choice(NASTY) + data[at.end() :]


def _value(data: bytes, chance: random.Random) -> bytes:
    """A value becomes a nasty one."""
    return _replaced(_VALUE, data, chance)


def _key(data: bytes, chance: random.Random) -> bytes:
    """A key becomes a nasty value."""
    return _replaced(_KEY, data, chance)


def _line(data: bytes, chance: random.Random) -> bytes:
    """All that a field holds becomes one nasty value."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    field, colon, _ = lines[at].partition(b":")
    return b"\n".join([*lines[:at], field + (colon or b":") + b" " + chance.choice(NASTY), *lines[at + 1 :]])


def _bytes(data: bytes, chance: random.Random) -> bytes:
    """A few bytes change."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        if made:
            made[chance.randrange(len(made))] = chance.randrange(256)
    return bytes(made)


def _cut(data: bytes, chance: random.Random) -> bytes:
    """The end of the file is missing."""
    return data[: chance.randrange(len(data) + 1)]


def _repeated(data: bytes, chance: random.Random) -> bytes:
    """A line is there twice."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    return b"\n".join([*lines[: at + 1], *lines[at:]])
