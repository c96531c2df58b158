"""Facts as a person reads them."""

from neonblue_lab import facts

TOLD = {"stage": "intent", "segment": "mobile\n9 % of <users>"}


def test_lines_are_aligned_and_go_on_below() -> None:
    assert facts.lines(TOLD).splitlines() == ["stage    intent", "segment  mobile", "         9 % of <users>"]
    assert facts.lines({}) == ""


def test_a_table_escapes_what_it_is_given() -> None:
    page = facts.html(TOLD, title="a & b", below="One.\n<Two>.")
    assert "<b>a &amp; b</b>" in page
    assert "&lt;users&gt;" in page
    assert page.endswith("<p>One.</p><p>&lt;Two&gt;.</p>")
    assert "<b>" not in facts.html(TOLD)
