"""Names from data and configs stay text in every place where they are shown."""

import html.parser
import io

import markdown
import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from biformer_lit.errors import DataError
from biformer_lit.text import fonts
from biformer_lit.text.escaping import (
    for_csv,
    for_latex,
    for_markdown,
    for_matplotlib,
    for_plotly,
    from_csv,
    shortened,
    visible,
)

HOSTILE = [
    "$10_$20",
    "\x1b]0;title\x07 \x1b[31mred",
    "<script>alert(1)</script>",
    '<img src="x" onerror="alert(1)">',
    "[here](javascript:alert(1))",
    "![x](http://example.com/x.png)",
    "http://example.com and www.example.com",
    "# heading",
    "- item",
    "1. item",
    "a | b",
    "`code` *bold* _it_ ~~gone~~",
    "back\\slash \\$ \\[",
    "two\nlines\r\nthree\u2028four",
    "right\u202eleft",
    "猫 und Hündin",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_terminals_get_no_control_characters(text):
    assert visible(text).isprintable()
    assert "\x1b" not in str(DataError(f"class {text}"))


def test_what_is_made_visible():
    assert visible("a\x1b[0m\tb\nc") == "a\\x1b[0m b c"
    assert visible("x\u202ey") == "x\\u202ey"
    assert visible("猫 and ü") == "猫 and ü"
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert visible("y" * 300, 21) == "y" * 10 + "…" + "y" * 10


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_the_text_and_makes_nothing_of_it(text):
    class Reader(html.parser.HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.text = [], ""

        def handle_starttag(self, tag, attrs):
            self.tags.append(tag)

        def handle_data(self, data):
            self.text += data

    reader = Reader()
    reader.feed(markdown.markdown(for_markdown(text), extensions=["tables"]))
    assert reader.tags == ["p"]
    # this reader, TensorBoard's, knows fewer escapes than others and shows the backslash of the rest
    assert reader.text.replace("\\~", "~").replace("\\|", "|").replace("\\=", "=") == visible(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_matplotlib_draws_the_text(text):
    figure = Figure()
    with fonts.drawing([text]):
        drawn = figure.text(0.5, 0.5, fonts.drawable(text))
    figure.savefig(io.BytesIO())  # its mathematics would raise
    shown, is_math = drawn._preprocess_math(drawn.get_text())
    assert not is_math
    assert shown == visible(text) or "\N{REPLACEMENT CHARACTER}" in shown


def test_a_missing_font_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(fonts, "_other_fonts", dict)
    monkeypatch.setattr(fonts, "_told", set())
    assert fonts.drawable("猫 Katze") == "\N{REPLACEMENT CHARACTER} Katze"
    assert fonts.drawable("猫") == "\N{REPLACEMENT CHARACTER}"
    assert len(caplog.records) == 1
    assert "no installed font has 猫" in caplog.text


def test_a_font_that_has_the_characters_is_found(monkeypatch):
    monkeypatch.setattr(fonts, "_other_fonts", lambda: {ord("猫"): "Some Font"})
    assert fonts.drawable("猫") == "猫"
    with fonts.drawing(["猫", "cat"]):
        assert mpl.rcParams["font.family"] == ["sans-serif", "Some Font"]
    assert mpl.rcParams["font.family"] == ["sans-serif"]


def test_plotly_and_latex():
    assert for_plotly('<a href="x">&') == '&lt;a href="x"&gt;&amp;'
    assert for_latex("[1, all] & 50 % of $x_1$ \\ ~") == (
        r"{[}1, all{]} \& 50 \% of \$x\_1\$ \textbackslash{} \textasciitilde{}"
    )
    assert for_matplotlib("$a$") == r"\$a\$"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-cat", "@x", "\tx", " =1", "'=1", "''-", "cat", "'cat", "", "5", "a=b"]
)
def test_csv_holds_no_formula_and_can_be_read_back(text):
    cell = for_csv(text)
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert from_csv(cell) == text


def test_csv_leaves_plain_texts_and_numbers():
    assert [for_csv(value) for value in ("cat", "a=b", -1.5, None)] == ["cat", "a=b", -1.5, None]


def test_boxes_for_all_characters_are_no_font(monkeypatch):
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", list)
    assert not any(family.startswith("Last Resort") for family in set(fonts._other_fonts.__wrapped__().values()))
