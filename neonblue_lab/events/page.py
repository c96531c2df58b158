"""An HTML page as a reader sees it: headings, and the blocks of text between them.

However broken a page is, it is read in time that grows with its length alone, which the parsers of the standard library and
those made of it do not promise.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
_END_OR_QUOTE = re.compile(r">|=\s*([\"'])")
_UNSEEN = {name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style")}


def _markup(text: str) -> Iterator[tuple[str, str]]:
    """The tags, as ("<", name) and ("</", name), and the texts between them, as ("", text); nothing of what is unseen.

    What is left open is taken as browsers take it: a comment, script or style hides the rest. A tag whose end nobody can
    tell for a quote that stays open ends at the next `>`.
    """
    at, any_end = 0, -1
    quotes_close = True
    while (start := text.find("<", at)) >= 0:
        if any_end < start and (any_end := text.find(">", start)) < 0:
            break
        yield "", text[at:start]
        tag = _TAG.match(text, start)
        if text.startswith("<!--", start):
            end = text.find("-->", start + 2)
            if end < 0:
                return
            at = end + 3
        elif tag:
            told = _tag_end(text, tag.end()) if quotes_close else None
            quotes_close = told is not None
            at = told or any_end + 1
            name = tag[2].lower()
            yield f"<{tag[1]}", name
            if name in _UNSEEN and not tag[1]:
                close = _UNSEEN[name].search(text, at)
                if close is None:
                    return
                at = close.start()
        elif text.startswith(("<!", "<?", "</"), start):
            at = any_end + 1
        else:
            yield "", "<"
            at = start + 1
    yield "", text[at:]


def _tag_end(text: str, at: int) -> int | None:
    """Where a tag ends whose name ends at `at`; None where a quote, or the tag, stays open."""
    while found := _END_OR_QUOTE.search(text, at):
        if found[1] is None:
            return found.end()
        at = text.find(found[1], found.end()) + 1
        if at == 0:
            return None
    return None


_WHOLE = ("ul", "ol", "dl", "table", "pre")
_LINES = ("li", "tr", "dt", "dd", "br", "option", "caption")
_CELLS = ("td", "th")
_BLOCKS = (
    *("p", "div", "section", "article", "header", "footer", "main", "aside", "nav", "figure", "figcaption", "form"),
    *("fieldset", "hr", "address", "blockquote", "body", "html", "head", "details", "summary"),
)


@dataclass
class Page:
    """What a page says.

    Attributes:
        blocks: level and text: a heading of level 1 to 6, or, at level 0, what stands between headings. A list or table is one
            block, with a line for each item or row. White space is as a browser shows it.
        title: of the page; empty when it has none.
    """

    blocks: list[tuple[int, str]] = field(default_factory=list)
    title: str = ""


def read_page(text: str) -> Page:
    """Read HTML. Comments, scripts, styles and the page's title are in no block."""
    reader = _Reader()
    for kind, said in _markup(text):
        if kind == "<":
            reader.begin(said)
        elif kind == "</":
            reader.end(said)
        else:
            reader.say(html.unescape(said))
    reader.finish()
    return reader.page


class _Reader:
    def __init__(self) -> None:
        self.page = Page()
        self._lines: list[str] = []
        self._line: list[str] = []
        self._level = self._whole = self._preformatted = 0
        self._in_title = False

    def begin(self, tag: str) -> None:
        if tag == "title":
            self._in_title = True
        elif tag in _WHOLE:
            self._break()
            self._whole += 1
            self._preformatted += tag == "pre"
        elif tag in _CELLS and any(part.strip() for part in self._line):
            self._line.append(" | ")
        elif tag in _LINES:
            self._end_line()
        elif _heading(tag) or tag in _BLOCKS:
            self._break()
            self._level = 0 if self._whole else _heading(tag)

    def end(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in _WHOLE:
            self._end_line()
            self._whole = max(0, self._whole - 1)
            self._preformatted = max(0, self._preformatted - (tag == "pre"))
            self._break()
        elif tag in _LINES:
            self._end_line()
        elif _heading(tag) or tag in _BLOCKS:
            self._break()

    def say(self, text: str) -> None:
        if self._in_title:
            self.page.title += text
        elif self._preformatted:
            *lines, last = text.split("\n")
            for line in lines:
                self._line.append(line)
                self._end_line()
            self._line.append(last)
        else:
            self._line.append(text)

    def finish(self) -> None:
        self._end_line()
        self._whole = 0
        self._break()

    def _end_line(self) -> None:
        text = "".join(self._line)
        self._line.clear()
        if line := text.rstrip() if self._preformatted else " ".join(text.split()):
            self._lines.append(line)

    def _break(self) -> None:
        """End a block; within a list or table, a line."""
        self._end_line()
        if not self._whole:
            if self._lines:
                self.page.blocks.append((self._level, "\n".join(self._lines)))
            self._lines = []
            self._level = 0


def _heading(tag: str) -> int:
    """The level of a heading's tag; 0 for another."""
    return int(tag[1]) if tag in ("h1", "h2", "h3", "h4", "h5", "h6") else 0
