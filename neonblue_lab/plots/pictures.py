"""Charts as pictures that need neither network nor script: SVG, with a PNG beside it."""

import base64
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import altair as alt
import vl_convert

_SCALE = 2
_LARGEST_SVG = 500_000


def pictures(spec: dict[str, Any], **_: Any) -> dict[str, str]:
    """What a notebook shows for a Vega-Lite specification: MIME type -> content.

    JupyterLab and exported reports show the SVG, and the PNG where a notebook is not trusted, since JupyterLab shows no
    SVG there. A chart of thousands of marks, whose SVG would be over 500 kB, is a PNG alone.
    """
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    svg = vl_convert.vegalite_to_svg(spec, vl_version=version)
    png = _smaller(vl_convert.vegalite_to_png(spec, vl_version=version, scale=_SCALE))
    bundle = {"text/plain": spec.get("description", "Chart"), "image/png": base64.b64encode(png).decode()}
    return bundle if len(svg) > _LARGEST_SVG else {**bundle, "image/svg+xml": svg}


def _smaller(png: bytes) -> bytes:
    """The same picture, compressed in earnest: the converter's own compression is made for speed (3-4 times larger)."""
    chunks = list(_chunks(png))
    pixels = zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"))
    others = [(kind, content) for kind, content in chunks if kind not in (b"IDAT", b"IEND")]
    written = [*others, (b"IDAT", zlib.compress(pixels, 7)), (b"IEND", b"")]
    return png[:8] + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in written
    )


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk (PNG specification, section 5.3)."""
    position = 8
    while position < len(png):
        (length,) = struct.unpack_from(">I", png, position)
        yield png[position + 4 : position + 8], png[position + 8 : position + 8 + length]
        position += 12 + length
