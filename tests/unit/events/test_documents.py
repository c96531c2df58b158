"""Chunks hold each word of a text once and in order, follow its structure, and keep their ids through edits elsewhere."""

import html
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neonblue_lab.errors import BadInput
from neonblue_lab.events.documents import FORMATS, LONGEST, SHORT, Chunk, chunk, chunk_ids, title_of

POST_MORTEM = """# Checkout in one step

Owner: growth

The new checkout asked for everything on one page. It was seen by half of all visitors for two weeks, and it was stopped a day
early because the payment provider failed. What follows is what we know, and what we would do again if we had to decide once
more with the numbers that we had then.

## What we measured

| metric     | control | treatment |
|------------|--------:|----------:|
| conversion | 3.1 %   | 3.4 %     |

1. Sessions without a cart were left out.
2. Revenue counts on the day of the order.

   Refunds do not count.

## What we learned

```python
# not a heading
lift = 0.3 / 3.1
```

[numbers]: https://example.org/numbers "Where they lie"
"""


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_markdown_is_cut_at_its_structure() -> None:
    first, measured, learned = chunk(POST_MORTEM, "markdown")
    assert first.section == "Checkout in one step"
    assert first.text.startswith("Checkout in one step\n\nOwner: growth\n\nThe new checkout")
    assert measured.section == "Checkout in one step > What we measured"
    assert "| conversion | 3.1 %   | 3.4 %     |\n\n1. Sessions" in measured.text
    assert "\n\n   Refunds do not count." in measured.text
    assert learned.section == "Checkout in one step > What we learned"
    assert "```python\n# not a heading\nlift = 0.3 / 3.1\n```" in learned.text
    assert learned.text.endswith('[numbers]: https://example.org/numbers "Where they lie"')
    assert title_of(POST_MORTEM, "markdown") == "Checkout in one step"


def test_html_is_what_a_reader_sees() -> None:
    page = """<!DOCTYPE html><html><head><title>Page</title><style>p { color: red }</style><script>let x = "<p>no</p>"</script>
        </head><body><!-- hidden --><h1>Price &amp; <em>plan</em></h1><p>Two
        plans<br>were <b>sho</b>wn.</p><h2>Result</h2><ul><li>control<ul><li>nested</ul><li>treatment</li></ul>
        <table><tr><th>metric<th>lift</tr><tr><td>revenue<td>2 %</table><pre>a = 1
    b = 2</pre><![if x]>ends"""
    assert chunk(page, "html") == [
        Chunk("Price & plan", "Price & plan\n\nTwo plans\nwere shown."),
        Chunk(
            "Price & plan > Result",
            "Result\n\ncontrol\nnested\ntreatment\n\nmetric | lift\nrevenue | 2 %\n\na = 1\n    b = 2\n\nends",
        ),
    ]
    assert title_of(page, "html") == "Price & plan"
    assert title_of("<title> Of the\npage </title><p>x", "html") == "Of the page"


def test_plain_text_is_cut_at_blank_lines() -> None:
    long = "word " * (SHORT // 4)
    assert [c.text for c in chunk(f"{long}\n \n# no heading\nhere\n\n{long}", "text")] == [
        long,
        f"# no heading\nhere\n\n{long}",
    ]
    assert {c.section for c in chunk(long, "text")} == {""}
    assert title_of(long, "text") is None


def test_what_has_no_words_has_no_chunks() -> None:
    for text, format in [("", "text"), (" \n\n\t", "text"), ("---\n\n***", "markdown"), ("<script>x</script>", "html")]:
        assert chunk(text, format) == []


def test_other_formats_are_refused() -> None:
    with pytest.raises(BadInput, match="'pdf' is no format of documents: it is one of markdown, html, text"):
        chunk("x", "pdf")


def test_what_is_too_long_is_cut_at_lines_then_sentences_then_spaces() -> None:
    lines = "\n".join(f"- item {i} {'x' * 50}" for i in range(60))
    assert all(re.fullmatch(r"(- item \d+ x{50}\n?)+", c.text) for c in chunk(lines, "markdown"))
    sentences = " ".join(f"Sentence {i} is of a usual length, is it not?" for i in range(60))
    assert all(c.text.startswith("Sentence") and c.text.endswith("?") for c in chunk(sentences, "text"))
    endless = " ".join("word" for _ in range(1_000))
    for text in (lines, sentences, endless):
        assert all(len(c.text) <= LONGEST for c in chunk(text, "text"))
    assert [c.text for c in chunk("x" * 5_000, "text")] == ["x" * 5_000]


WORD = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=12)
SENTENCE = st.lists(WORD, min_size=1, max_size=30).map(lambda words: " ".join(words) + ".")
PARAGRAPH = st.lists(SENTENCE, min_size=1, max_size=12).map(" ".join)
ITEMS = st.lists(SENTENCE, min_size=1, max_size=8).map(lambda items: "\n".join(f"- {item}" for item in items))
HEADING = st.builds(lambda level, words: f"{'#' * level} {words}", st.integers(1, 6), SENTENCE)
MARKDOWN = st.lists(st.one_of(PARAGRAPH, ITEMS, HEADING), max_size=12).map("\n\n".join)


@given(MARKDOWN, st.sampled_from(["markdown", "text"]))
def test_each_word_is_in_one_chunk_in_order(text: str, format: str) -> None:
    assert words(" ".join(c.text for c in chunk(text, format))) == words(text)


@given(
    st.lists(
        st.tuples(st.sampled_from(["p", "h1", "h3", "li", "td", "pre", "div", "blockquote"]), SENTENCE), max_size=15
    )
)
def test_each_word_of_a_page_is_in_one_chunk_in_order(elements: list[tuple[str, str]]) -> None:
    around = {"li": "ul", "td": "table"}
    page = "".join(
        f"<{around.get(tag, 'div')}><{tag}>{html.escape(text)}</{tag}></{around.get(tag, 'div')}>"
        for tag, text in elements
    )
    assert words(" ".join(c.text for c in chunk(page, "html"))) == words(" ".join(text for _, text in elements))


@given(st.text(st.sampled_from("ab \n\t#-*_`|[]()<>!/&;:=\"'0.\\x00\ufeff\u2028ÄpreulitdscrhTM"), max_size=300))
def test_no_text_is_too_strange(text: str) -> None:
    for format in FORMATS:
        chunks = chunk(text, format)
        assert all(words(c.text) for c in chunks)
        assert len(set(chunk_ids("d", chunks))) == len(chunks)
        title_of(text, format)
    assert words(" ".join(c.text for c in chunk(text, "text"))) == words(text)


def ids(paragraphs: list[str], format: str = "markdown") -> list[str]:
    return chunk_ids("d", chunk("\n\n".join(paragraphs), format))


BODY = st.lists(PARAGRAPH, min_size=1, max_size=10)


@given(st.lists(st.one_of(PARAGRAPH, HEADING), min_size=1, max_size=10), st.data())
def test_a_paragraph_that_is_inserted_renames_no_chunk_but_the_one_it_falls_into(
    paragraphs: list[str], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(paragraphs)))
    new = data.draw(PARAGRAPH)
    gone = set(ids(paragraphs)) - set(ids([*paragraphs[:at], new, *paragraphs[at:]]))
    assert len(gone) <= 1 + crowded(paragraphs)


@given(BODY, st.data())
def test_an_edited_paragraph_renames_no_chunks_but_its_own(paragraphs: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(paragraphs) - 1))
    own = len(chunk(paragraphs[at], "markdown"))
    gone = set(ids(paragraphs)) - set(ids([*paragraphs[:at], data.draw(PARAGRAPH), *paragraphs[at + 1 :]]))
    assert len(gone) <= 1 + own + crowded(paragraphs)


def crowded(paragraphs: list[str]) -> int:
    """How many more chunks a run of short paragraphs makes that does not fit into one: they may shift together."""
    runs = [0]
    for paragraph in paragraphs:
        runs[-1] += len(paragraph)
        if len(paragraph) >= SHORT:
            runs.append(0)
    return sum(run // (LONGEST - SHORT) for run in runs)


def test_ids_know_their_document_and_section_and_number_repetitions() -> None:
    here, there = Chunk("A", "same"), Chunk("B", "same")
    all_of_them = [*chunk_ids("d", [here, there, here]), *chunk_ids("e", [here])]
    assert len(set(all_of_them)) == 4
    assert (
        chunk_ids("d", [here]) == chunk_ids("d", [Chunk("A ", "  sa\u200bme".replace("\u200b", ""))]) == all_of_them[:1]
    )
    assert chunk_ids("d", [Chunk("", "Caf\u00e9")]) == chunk_ids("d", [Chunk("", "Cafe\u0301")])


def test_ids_stay_what_they_were() -> None:
    """They are in stores and indexes: who changes them renames every chunk there."""
    assert chunk_ids("d", [Chunk("A > B", "text")]) == ["cb2fa83dc16f4dd6c0a9366b59dab8c4"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("part", "end", "format"),
    [
        *(
            (part, "", "html")
            for part in ("<!--", "<![", "<!", "<", "<a x='", "<a x='>' ", "<a", "<script>", "<pre>", "&")
        ),
        *((part, ">", "html") for part in ("<!", "<", "<a x='", "</", "<ul>", "<?")),
        *((part, "", "markdown") for part in ("- a\n", "# h\n", "> ", "|a", "[a]: b\n", "```\n", "`", "<!--")),
    ],
)
def test_what_is_made_to_be_slow_is_read_in_time_that_grows_with_its_length_alone(
    part: str, end: str, format: str
) -> None:
    chunk(part * (300_000 if format == "html" else 40_000) + end, format)


def test_sections_nest_by_level() -> None:
    text = "# A\n\na\n\n### C\n\nc\n\n## B\n\nb\n\n# D\n\nd"
    assert [c.section for c in chunk(text, "markdown")] == ["A", "A > C", "A > B", "D"]
    assert all(len(before.text) < LONGEST for before, _ in pairwise(chunk(text, "markdown")))
