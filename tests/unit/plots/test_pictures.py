"""A chart is visible wherever a notebook is opened, without a network."""

import base64
import os
import re
import struct
import subprocess
import sys
import zlib

import altair as alt
import nbformat
import polars as pl
import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st
from nbconvert import HTMLExporter

from neonblue_lab.plots import p_value_histogram, use_theme
from neonblue_lab.plots.pictures import pictures
from neonblue_lab.plots.theme import CATEGORIES, _balanced


@pytest.fixture
def chart() -> alt.LayerChart:
    return p_value_histogram(pl.DataFrame({"p": [0.01, 0.2, 0.9]}), "p")


def pixels(png: bytes) -> bytes:
    position, compressed = 8, b""
    while position < len(png):
        (length,) = struct.unpack_from(">I", png, position)
        kind, content = png[position + 4 : position + 8], png[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", png, position + 8 + length)
        assert zlib.crc32(kind + content) == checksum
        compressed += content if kind == b"IDAT" else b""
        position += 12 + length
    return zlib.decompress(compressed)


def test_a_displayed_chart_is_a_picture_in_two_forms_and_its_words(chart: alt.LayerChart) -> None:
    bundle = chart._repr_mimebundle_()
    assert isinstance(bundle, dict)
    assert bundle.keys() == {"text/plain", "image/png", "image/svg+xml"}
    assert bundle["text/plain"].startswith("How much signal is in these tests?\n1 of 3 values")
    assert bundle["image/svg+xml"].startswith("<svg")
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")


def test_the_svg_asks_for_nothing_from_elsewhere(chart: alt.LayerChart) -> None:
    svg = pictures(chart.to_dict())["image/svg+xml"]
    assert "<script" not in svg
    assert set(re.findall(r"https?://[^\"' ]+", svg)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_the_smaller_png_is_the_same_picture(chart: alt.LayerChart) -> None:
    spec = chart.to_dict()
    original = vl_convert.vegalite_to_png(spec, vl_version="6.1", scale=2)
    smaller = base64.b64decode(pictures(spec)["image/png"])
    assert pixels(smaller) == pixels(original)
    assert len(smaller) < len(original) / 2


def test_thousands_of_marks_are_a_png_alone() -> None:
    use_theme()
    many = alt.Chart(pl.DataFrame({"x": range(6000), "y": range(6000)})).mark_point().encode(x="x", y="y")
    assert "image/svg+xml" not in pictures(many.to_dict())


def test_an_exported_report_shows_the_chart_without_a_script(chart: alt.LayerChart) -> None:
    output = nbformat.v4.new_output("display_data", data=chart._repr_mimebundle_())
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("chart", outputs=[output])])
    report, _ = HTMLExporter().from_notebook_node(notebook)
    embedded = re.findall(r'<img [^>]*src="data:image/svg\+xml;base64,([^"]+)"', report)
    assert len(embedded) == 1
    assert b"How much signal" in base64.b64decode(embedded[0])
    assert "vegaEmbed" not in report


def test_a_chart_is_the_same_in_every_time_zone() -> None:
    code = (
        "import hashlib, polars as pl\n"
        "from datetime import date\n"
        "from neonblue_lab.plots import records_chart\n"
        "days = pl.date_range(date(2026, 3, 1), date(2026, 4, 1), eager=True)\n"
        "frame = pl.DataFrame({'day': days, 'topic': 't', 'records': 5})\n"
        "svg = records_chart(frame)._repr_mimebundle_()['image/svg+xml']\n"
        "print(hashlib.sha256(svg.encode()).hexdigest())\n"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "TZ": zone}, check=True, capture_output=True, text=True
        ).stdout
        for zone in ("UTC", "America/New_York")
    }
    assert len(hashes) == 1


def test_the_theme_does_not_undo_a_later_choice(chart: alt.LayerChart) -> None:
    with alt.renderers.enable("json"):
        p_value_histogram(pl.DataFrame({"p": [0.5]}), "p")
        assert alt.renderers.active == "json"
    assert alt.renderers.active == "neonblue"


@given(text=st.text(alphabet="abc ", max_size=300), width=st.integers(10, 80))
def test_lines_are_balanced_and_say_the_same(text: str, width: int) -> None:
    lines = _balanced(text, width)
    assert " ".join(lines).split() == text.split() or any(len(word) > width for word in text.split())
    assert all(len(line) <= width for line in lines)


def test_colours_differ_for_those_who_cannot_tell_red_from_green() -> None:
    """Simulated deuteranopia (Machado, Oliveira and Fernandes 2009, severity 1.0): the first six stay apart."""
    machado = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]

    def seen(colour: str) -> list[float]:
        linear = [(int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
        return [sum(weight * channel for weight, channel in zip(row, linear, strict=True)) for row in machado]

    views = [seen(colour) for colour in CATEGORIES[:6]]
    for index, one in enumerate(views):
        for other in views[:index]:
            assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 0.1
