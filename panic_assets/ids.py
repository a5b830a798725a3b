"""Identifiers: RFC 9562 UUIDv7, which sort by the time they were made."""

import os
import time
import uuid
from datetime import UTC, datetime


def uuid7(at: datetime | None = None) -> str:
    """A new UUIDv7 whose millisecond timestamp is `at` (now when not given), as text."""
    milliseconds = int(at.timestamp() * 1000) if at else time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(uuid.UUID(int=value))


def uuid7_time(identifier: str) -> datetime:
    """The moment a UUIDv7 carries, to the millisecond, in UTC."""
    return datetime.fromtimestamp((uuid.UUID(identifier).int >> 80) / 1000, tz=UTC)
