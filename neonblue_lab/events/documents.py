"""A long text in chunks that a search by meaning can hold, cut where its structure says and named so that edits stay local.

A text is a sequence of blocks: headings, paragraphs, lists, tables, code. A block of some length is a chunk; what is short
goes with what follows it, as a heading does; what is too long is cut at line ends, else at sentences, else at spaces. No cut
depends on what lies far from it, and a chunk's id on nothing but its text and the headings above it: who edits a paragraph
or inserts one renames the chunk that it lies in, and no others.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

from markdown_it import MarkdownIt

from neonblue_lab.errors import BadInput
from neonblue_lab.events.page import read_page

KINDS = ("brief", "post_mortem", "note")
SHORT = 240
"""Characters; a block of fewer goes with the next one."""
LONGEST = 1_000
"""Characters of the longest chunk, if its words allow: at 4.5 a word piece of English, less than the 256 pieces that small
text encoders read. Chunks do not overlap."""

LONGEST_HEADING = 200
"""Characters of a heading that are told of what lies below it."""

_CUTS = ((r"\n", "\n"), (r"(?<=[.!?…])\s+", " "), (r"\s+", " "))
"""Where to cut what is too long, the best first, and what joins the parts that fit."""


@dataclass(frozen=True)
class Chunk:
    """A part of a text.

    Attributes:
        section: the headings above it, from the outermost, joined by ` > `; empty where there is none.
        text: what it says, as it stands in the text, headings included that it begins with.
    """

    section: str
    text: str


@dataclass(frozen=True)
class _Block:
    """A heading of some level (1 to 6), or, at level 0, what stands between headings."""

    text: str
    level: int = 0


def chunk(text: str, format: str) -> list[Chunk]:
    """The chunks of a text. Each of its words is in exactly one of them, in order.

    Args:
        text: a whole document.
        format: markdown, html or text. Of HTML, what a reader sees counts: no scripts, styles, comments and page titles.

    Returns:
        No chunks for a text without words.

    Raises:
        BadInput: another format.
    """
    return list(_chunks(_blocks(text, format)))


def chunk_ids(document_id: str, chunks: Iterable[Chunk]) -> list[str]:
    """An id for each chunk of a document: the same text under the same headings keeps its id, wherever it moves.

    White space and the ways to compose a character make no difference. Equal chunks are numbered.
    """
    seen: Counter[tuple[str, str]] = Counter()
    ids = []
    for one in chunks:
        said = (_normal(one.section), _normal(one.text))
        ids.append(sha256("\x1f".join((document_id, *said, str(seen[said]))).encode()).hexdigest()[:32])
        seen[said] += 1
    return ids


def title_of(text: str, format: str) -> str | None:
    """The first heading of a text, else the title of its page, else None.

    Raises:
        BadInput: another format.
    """
    heading = next((block.text for block in _blocks(text, format) if block.level), None)
    if heading is None and format == "html":
        heading = read_page(text).title
    return _normal(heading) if heading else None


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _chunks(blocks: Sequence[_Block]) -> Iterator[Chunk]:
    headings: dict[int, str] = {}
    gathered: list[str] = []
    has_body = False

    def gather() -> Chunk:
        nonlocal has_body
        has_body = False
        text = "\n\n".join(gathered)
        gathered.clear()
        return Chunk(" > ".join(headings.values()), text)

    for block in blocks:
        if block.level:
            if has_body:
                yield gather()
            headings = {level: said for level, said in headings.items() if level < block.level}
            headings[block.level] = _normal(block.text)[:LONGEST_HEADING]
            gathered.append(block.text)
            continue
        parts = _fitted(block.text, _CUTS)
        for part in parts:
            if has_body and sum(map(len, gathered)) + len(part) > LONGEST:
                yield gather()
            gathered.append(part)
            has_body = True
            if len(part) >= SHORT or len(parts) > 1:
                yield gather()
    if gathered:
        yield gather()


def _fitted(text: str, cuts: Sequence[tuple[str, str]]) -> list[str]:
    """A text in parts of at most LONGEST characters; a single word may be longer."""
    if len(text) <= LONGEST or not cuts:
        return [text]
    (pattern, joint), *finer = cuts
    fitted: list[str] = []
    for piece in re.split(pattern, text):
        for part in _fitted(piece, finer):
            if fitted and len(fitted[-1]) + len(joint) + len(part) <= LONGEST:
                fitted[-1] += joint + part
            elif part.strip():
                fitted.append(part)
    return fitted


def _blocks(text: str, format: str) -> list[_Block]:
    if format not in FORMATS:
        raise BadInput(f"{format!r} is no format of documents: it is one of {', '.join(FORMATS)}.")
    found = FORMATS[format](text.replace("\r\n", "\n").replace("\r", "\n"))
    return [block for block in found if re.search(r"\w", block.text)]


def _text_blocks(text: str) -> Iterator[_Block]:
    yield from (_Block(part.strip("\n")) for part in re.split(r"\n\s*\n", text))


# Blocks are all that is asked for: what is in a line stays as it was written.
_MARKDOWN = MarkdownIt("commonmark").enable("table").disable("inline")


def _markdown_blocks(text: str) -> Iterator[_Block]:
    lines = text.split("\n")
    end = 0
    for token, following in pairwise([*_MARKDOWN.parse(text), None]):
        if token is None or token.level or token.map is None:
            continue
        start, after = token.map
        yield _Block(
            "\n".join(lines[end:start]).strip("\n")
        )  # what is no block of its own, such as the targets of links
        end = after
        if token.type == "heading_open" and following is not None:
            yield _Block(following.content, int(token.tag[1:]))
        else:
            yield _Block("\n".join(lines[start:after]).strip("\n"))
    yield _Block("\n".join(lines[end:]).strip("\n"))


def _html_blocks(text: str) -> Iterator[_Block]:
    return (_Block(said, level) for level, said in read_page(text).blocks)


FORMATS: dict[str, Callable[[str], Iterator[_Block]]] = {
    "markdown": _markdown_blocks,
    "html": _html_blocks,
    "text": _text_blocks,
}
