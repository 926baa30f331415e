"""TIFF files written by hand, so that every tag can be had without a library."""

import struct
import zlib

import numpy as np

_SIZES = {3: "H", 4: "I"}
_KINDS = {"u": 1, "i": 2, "f": 3}


def tiff(values, photometric=1, extra=None, planar=False, order="<", deflate=False, orientation=None, bits=None):
    """A TIFF file of stored values (height, width) or (height, width, bands); ``bits`` packs them more tightly."""
    values = values[:, :, None] if values.ndim == 2 else values
    height, width, bands = values.shape
    depth = bits or values.dtype.itemsize * 8
    planes = [values[:, :, band] for band in range(bands)] if planar else [values]
    strips = [
        _packed(plane, bits) if bits else plane.astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes
    ]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [depth] * bands),
        259: (3, [8 if deflate else 1]),
        262: (3, [photometric]),
        277: (3, [bands]),
        278: (4, [height]),
        284: (3, [2 if planar else 1]),
        339: (3, [_KINDS[values.dtype.kind]] * bands),
    }
    if extra is not None:
        tags[338] = 3, list(extra)
    if orientation is not None:
        tags[274] = 3, [orientation]
    tags[273], tags[279] = (4, [0] * len(strips)), (4, [len(strip) for strip in strips])
    start = 8 + 2 + 12 * len(tags) + 4
    beyond = start + sum(len(_field(order, *tag)) for tag in tags.values() if len(_field(order, *tag)) > 4)
    tags[273] = 4, [beyond + sum(map(len, strips[:number])) for number in range(len(strips))]
    entries, more = b"", b""
    for number in sorted(tags):
        kind, numbers = tags[number]
        field = _field(order, kind, numbers)
        if len(field) > 4:
            more, field = more + field, struct.pack(order + "I", start + len(more))
        entries += struct.pack(order + "HHI", number, kind, len(numbers)) + field.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + struct.pack(order + "H", len(tags)) + entries + bytes(4) + more + b"".join(strips)


def _field(order, kind, numbers):
    return struct.pack(f"{order}{len(numbers)}{_SIZES[kind]}", *numbers)


def _packed(plane, bits):
    rows = plane.reshape(len(plane), -1).astype(np.uint32)
    spread = (rows[:, :, None] >> np.arange(bits)[::-1] & 1).astype(np.uint8)
    return np.packbits(spread.reshape(len(rows), -1), axis=1).tobytes()


def png16(values):
    """A 16-bit PNG of colours (height, width, 2, 3 or 4): grey and alpha, RGB, RGBA."""
    height, width, bands = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
