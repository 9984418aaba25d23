"""Summaries: names and number formats, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.core.alerts.template import MAX_RENDERED, Template, TemplateError, harmless

LABELS = {"exchange": "kraken", "source": "bot"}


@pytest.mark.parametrize(
    ("text", "value", "wanted"),
    [
        ("plain", 1.0, "plain"),
        ("{value}", 0.1 + 0.2, "0.3"),
        ("{value}", 125877.43, "125877.43"),
        ("{value}", 74358.0, "74358"),
        ("{value}", 1e21, "1e+21"),
        ("{value:.1%}", 0.1384, "13.8%"),
        ("{value:,.2f}", 1234567.891, "1,234,567.89"),
        ("{value:.2}", 2.345, "2.35"),
        ("{value:,}", 1234567.0, "1,234,567"),
        ("{value:.0f}", 2.5, "2"),
        ("{value:e}", 12345.0, "1.234500e+04"),
        ("{value:duration}", 0.25, "250ms"),
        ("{value:duration}", 45.0, "45s"),
        ("{value:duration}", 59.999, "60s"),
        ("{value:duration}", 125.0, "2m 5s"),
        ("{value:duration}", 3600.0, "1h"),
        ("{value:duration}", -360_060.0, "-4d 4h"),
        ("{value:bytes}", 1536.0, "1.5 KiB"),
        ("{value:bytes}", 2.0**60, "1024 PiB"),
        ("{value:bytes}", -10.0, "-10 B"),
        ("{value:.1%}", float("nan"), "NaN"),
        ("{value:duration}", float("inf"), "∞"),
        ("{value}", float("-inf"), "-∞"),
        ("{value}", None, ""),
        ("{labels.exchange}/{labels.missing}/{labels.source}", 1.0, "kraken//bot"),
        ("{{value}} }}{{", 1.0, "{value} }{"),
        ("{value}{value:.1f}", 1.25, "1.251.2"),
    ],
)
def test_a_place_is_filled(text: str, value: float | None, wanted: str) -> None:
    assert Template.parse(text).render(value, LABELS) == wanted


@pytest.mark.parametrize(
    ("text", "position", "word"),
    [
        ("{x.__class__}", 0, "expected {value} or {labels.NAME}"),
        ("ab {value.__class__}", 3, "expected {value}"),
        ("{labels.__class__.__init__}", 0, "expected {value}"),
        ("{labels}", 0, "expected {value}"),
        ("{labels[0]}", 0, "expected {value}"),
        ("{value!r}", 0, "expected {value}"),
        ("{0}", 0, "expected {value}"),
        ("{}", 0, "expected {value}"),
        ("{x:>100000000}", 0, "expected {value}"),
        ("{value:>100000000}", 6, "expected a format such as"),
        ("{value:100000000}", 6, "expected a format"),
        ("{value:.100f}", 6, "expected a format"),
        ("{value:{value}}", 0, "expected {value}"),
        ("{value:,d}", 6, "expected a format"),
        ("{labels.x:>9}", 9, "a label takes no format"),
        ("{labels.x:}", 9, "a label takes no format"),
        ("50 % {", 5, "never closed"),
        ("a } b", 2, "a single }"),
        ("x" * 2001, 2000, "at most 2000"),
    ],
)
def test_anything_else_is_refused_with_its_place(text: str, position: int, word: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse(text)
    (mistake,) = caught.value.mistakes
    assert mistake.position == position
    assert word in mistake.message


def test_every_mistake_is_named_up_to_ten() -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse("{valu} of {labels.a:x} is {value:5} } and {value} {")
    assert [(mistake.position, mistake.message.split()[0]) for mistake in caught.value.mistakes] == [
        (0, "expected"),
        (19, "a"),
        (32, "expected"),
        (36, "a"),
        (50, "this"),
    ]
    with pytest.raises(TemplateError) as caught:
        Template.parse("} " * 1000)
    assert len(caught.value.mistakes) == 10


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\ud800", "\\ud800"),
        ("\x9b31m", "\\x9b31m"),
        ("line\u2028sep", "line\\u2028sep"),
        ("\u00e9 \u6f22 \U0001f680 @everyone", "\u00e9 \u6f22 \U0001f680 @everyone"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_instead(text: str, wanted: str) -> None:
    assert harmless(text) == wanted
    assert Template.parse("{labels.x}").render(0.0, {"x": text}) == wanted


def test_a_long_label_is_shortened_and_so_is_the_whole() -> None:
    assert len(Template.parse("{labels.x}").render(0.0, {"x": "y" * 10_000_000})) == 200
    text = Template.parse("{labels.x}" * 100).render(0.0, {"x": "y" * 300})
    assert len(text) == MAX_RENDERED
    assert text.endswith("…")


@given(st.text(max_size=60))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        Template.parse(text).render(1.5, {"a": "b"})
    except TemplateError as error:
        positions = [mistake.position for mistake in error.mistakes]
        assert positions == sorted(set(positions))
        assert 0 <= positions[0] <= positions[-1] < len(text)


@given(
    st.text(alphabet="{}valuebs.:,%1fx ", max_size=30),
    st.floats() | st.none(),
    st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3),
)
def test_rendering_is_total_and_leaves_no_control_character(
    text: str, value: float | None, labels: dict[str, str]
) -> None:
    try:
        template = Template.parse(text)
    except TemplateError:
        return
    assert harmless(out := template.render(value, labels)) == out


@given(st.floats(), st.sampled_from(["", ":.1%", ":,.2f", ":g", ":e", ":.99f", ":duration", ":bytes"]))
def test_every_number_has_a_short_form(value: float, spec: str) -> None:
    assert 1 <= len(Template.parse(f"{{value{spec}}}").render(value, {})) <= 60
