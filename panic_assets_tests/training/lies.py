"""Checkpoint files whose header lies."""

import json
import struct


def with_header(header, data=b"\0" * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(shape=(2,), dtype="F32", offsets=(0, 8)):
    return with_header({"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}})


LIES = {
    "shape": (tensor(shape=(3,)), "does not fit its 8 bytes"),
    "negative shape": (tensor(shape=(-1, -2)), "does not fit its 8 bytes"),
    "overflowing shape": (tensor(shape=(2**62, 4)), "does not fit its 8 bytes"),
    "empty shape": (tensor(shape=()), "does not fit its 8 bytes"),
    "many dimensions": (tensor(shape=[2, *[1] * 5000]), "does not fit its 8 bytes"),
    "unknown type": (tensor(dtype="F99"), "unknown type 'F99'"),
    "brackets": (with_header(b"[" * 100_000), "its header cannot be read"),
    "digits": (with_header(b'{"w": ' + b"9" * 5000 + b"}"), "its header cannot be read"),
    "infinite offset": (with_header(b'{"w": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 8]}}'), "header"),
}
