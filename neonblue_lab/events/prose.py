"""What an event says in words: the prose and the keywords in its properties.

Both take distinct JSON texts and look at each once: events of one kind share few of them.
"""

import hashlib

import orjson
import polars as pl

PROSE_KEYS = (
    *("title", "headline", "subject", "name", "hypothesis", "description"),
    *("text", "body", "message", "comment", "review", "feedback", "note", "query"),
)
"""Keys of `properties`, at any depth, whose texts a person wrote."""
KEYWORDS = 8
"""The most that one event gets."""
SHORTEST = 3
"""Letters of the shortest keyword."""

_INSIDE = r'"((?:[^"\\]|\\.)*)"'
_PROSE_FIELD = rf'"(?:{"|".join(PROSE_KEYS)})"\s*:\s*"(?:[^"\\]|\\.)*"'
_VALUE_OF_FIELD = rf"^[^:]*:\s*{_INSIDE}$"
_KEY = r'"(?:[^"\\]|\\.)*"\s*:'
_ESCAPE = r"\\."
# Ids, numbers and times: nothing that holds a digit is a keyword, and without them events share their documents.
_NUMBERED = r"[\w.-]*\d[\w.-]*"
_WORD = rf"\p{{L}}{{{SHORTEST},}}"

_STOP_WORDS = """
    a about after all also an and any are as at be because been before but by can could did do does down each for from
    get had has have he her here him his how i if in into is it its just like me more most my no not now of off on once only
    or other our out over own she should so some such than that the their them then there these they this those through to
    too under until up us very was we were what when where which while who why will with would you your
    true false null http https www com
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that say nothing of their own, and what JSON and addresses are full of."""


def prose(properties: pl.Series) -> pl.Series:
    """The prose of each JSON text: the values of PROSE_KEYS in the order in which they stand, one a line.

    Args:
        properties: JSON objects as texts.

    Returns:
        Texts, null where there is none, as long as `properties`.
    """
    found = properties.to_frame("json").with_row_index("row").filter(pl.col("json").str.contains(_PROSE_FIELD))
    if found.is_empty():
        return pl.repeat(None, properties.len(), dtype=pl.String, eager=True)
    values = (
        found.select("row", value=pl.col("json").str.extract_all(_PROSE_FIELD))
        .explode("value")
        .with_columns(pl.col("value").str.extract(_VALUE_OF_FIELD))
    )
    escaped = pl.when(pl.col("value").str.contains("\\", literal=True)).then("value")
    plain = pl.coalesce(escaped.map_elements(_unescaped, pl.String), "value")
    lines = values.select("row", value=plain.str.strip_chars()).filter(pl.col("value") != "")
    texts = lines.group_by("row", maintain_order=True).agg(pl.col("value").str.join("\n"))
    return pl.repeat(None, properties.len(), dtype=pl.String, eager=True).scatter(texts["row"], texts["value"])


def text_keys(texts: pl.Series) -> pl.Series:
    """The SHA-256 of each text's UTF-8 bytes, as hexadecimal digits; of null, null."""
    distinct = texts.drop_nulls().unique()
    keys = pl.Series([hashlib.sha256(text.encode()).hexdigest() for text in distinct.to_list()], dtype=pl.String)
    return texts.replace_strict(distinct, keys, default=None, return_dtype=pl.String)


def keywords(properties: pl.Series) -> pl.Series:
    """The words that each JSON text's values hold, those that occur most often first, then those that come first.

    A keyword has at least SHORTEST letters, is in lower case and no stop word. Keys are no values, and what holds a digit
    is an id, a number or a time.

    Args:
        properties: JSON objects as texts.

    Returns:
        Lists of at most KEYWORDS texts, null where there is none, as long as `properties`.
    """
    escaped = pl.when(pl.col("json").str.contains(r"\u", literal=True)).then("json")
    spelt = pl.coalesce(escaped.map_elements(_without_escapes, pl.String), "json")
    documents = properties.to_frame("json").select(spelt.str.replace_all(_NUMBERED, "0"))["json"]
    distinct = documents.drop_nulls().unique(maintain_order=True).alias("document").to_frame().with_row_index("row")
    text = pl.col("document").str.replace_all(_KEY, " ").str.replace_all(_ESCAPE, " ").str.to_lowercase()
    words = (
        distinct.select("row", word=text.str.extract_all(_WORD))
        .explode("word")
        .with_row_index("place")
        .filter(pl.col("word").is_not_null(), ~pl.col("word").is_in(list(STOP_WORDS)))
    )
    # By the number of their document: by its text, a long one would be hashed once a word.
    ranked = (
        words.group_by("row", "word")
        .agg(count=pl.len(), place=pl.col("place").min())
        .sort("count", "place", descending=[True, False])
        .group_by("row", maintain_order=True)
        .agg(pl.col("word").head(KEYWORDS))
    )
    found = distinct.join(ranked, on="row", how="left").drop("row")
    return documents.to_frame("document").join(found, on="document", how="left", maintain_order="left")["word"]


def _without_escapes(document: str) -> str:
    """A JSON text with letters in place of their numbers, as far as a text can hold them."""
    try:
        return orjson.dumps(orjson.loads(document)).decode()
    except orjson.JSONDecodeError:
        return document


def _unescaped(text: str) -> str:
    """What a JSON string means; the string itself where no text can hold that: half of a surrogate pair."""
    try:
        return str(orjson.loads(f'"{text}"'))
    except orjson.JSONDecodeError:
        return text
