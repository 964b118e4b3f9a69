"""PNG files put together chunk by chunk, for what no encoder writes."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Name and content of each chunk, their check sums right."""
    return SIGNATURE + b"".join(map(chunk, chunks))


def chunk(named: tuple[bytes, bytes]) -> bytes:
    """Length, name, content, check sum."""
    name, content = named
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def header(width: int, height: int) -> tuple[bytes, bytes]:
    """IHDR of an RGB picture in 8 bits."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
