"""Facts by their names, for a person to read: as lines of text, and as a table in a notebook."""

from collections.abc import Mapping
from html import escape


def lines(facts: Mapping[str, str]) -> str:
    """A line each, the names padded to one width; what has further lines goes on below its first."""
    width = max(map(len, facts), default=0) + 2
    return "\n".join(name.ljust(width) + said.replace("\n", "\n" + " " * width) for name, said in facts.items())


def html(facts: Mapping[str, str], *, title: str = "", below: str = "") -> str:
    """A table of two columns under a title, if there is one; of `below`, each line is a paragraph."""
    left = "text-align:left;vertical-align:top"
    rows = "".join(
        f"<tr><th style='{left};white-space:nowrap'>{escape(name)}</th>"
        f"<td style='{left};white-space:pre-line'>{escape(said)}</td></tr>"
        for name, said in facts.items()
    )
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in below.splitlines())
    heading = f"<p><b>{escape(title)}</b></p>" if title else ""
    return f"{heading}<table><tbody>{rows}</tbody></table>{paragraphs}"
