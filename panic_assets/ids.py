"""Identifiers: RFC 9562 UUIDv7, which sort by the time they were made."""

import os
import time
import uuid
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def uuid7(at: datetime | None = None) -> str:
    """A new UUIDv7 whose millisecond timestamp is `at` (now when not given), rounded down, as text."""
    milliseconds = (at - _EPOCH) // _MILLISECOND if at else time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(uuid.UUID(int=value))


def uuid7_time(identifier: str) -> datetime:
    """The moment a UUIDv7 carries, to the millisecond, in UTC."""
    return _EPOCH + (uuid.UUID(identifier).int >> 80) * _MILLISECOND
