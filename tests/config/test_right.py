"""Right configurations: what they become, what is there without being named, and what ships works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from trader_monitor.config.errors import ConfigErrors, dotted
from trader_monitor.config.lines import find_lines, line_of
from trader_monitor.config.load import BUILTIN_RULES, load, parse
from trader_monitor.config.tables import Config
from trader_monitor.config.values import Duration, Listen, Secret, Size
from trader_monitor.runtime.registry import Registry

README = Path(__file__).parents[2] / "README.md"
SHIPPED = Path(__file__).parents[2] / "config.toml"


def read(text: str, registry: Registry) -> Config:
    return parse(text, registry, base=Path("/base"))


def test_an_empty_file_is_neither_blind_nor_mute(registry: Registry) -> None:
    config = read("", registry)
    assert config.http.listen == Listen("127.0.0.1", 8008)
    assert config.live.listen == Listen("127.0.0.1", 8009)
    assert config.store.path == Path("/base/var/trader_monitor.db")
    assert sorted(config.collectors) == ["host", "monitor"]
    assert list(config.channels) == ["log"]
    assert set(config.rules) == set(tomli.loads(BUILTIN_RULES.read_text())["rules"])
    assert config.checks == {}


def test_collectors_without_options_are_on_until_they_are_taken_out(registry: Registry) -> None:
    config = read('[collectors.host]\nenabled = false\n[collectors.bots]\nmatch = "x"', registry)
    assert sorted(config.collectors) == ["bots", "monitor"]


def test_every_kind_of_value_arrives_as_its_type(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_TOKEN", "s3cret")
    config = read(
        """
        http = { tokens = [{ env = "DESK_TOKEN" }], listen = "0.0.0.0:80" }
        [store]
        raw = "1d12h"
        [ingest]
        max_body = "64MiB"
        socket = "run/in.sock"
        [checks.api]
        type = "http"
        url = { env = "DESK_TOKEN" }
        status = [200, 204]
        headers = { A = "b", Authorization = { env = "DESK_TOKEN" } }
        limit = "2MiB"
        grace = "1m"
        from = "desk"
        every = "3s"
        recover = ["restart"]
        [actions.restart]
        type = "systemd"
        armed = true
        """,
        registry,
    )
    check = config.checks["api"]
    assert config.http.tokens == (Secret("s3cret", "test"),)
    assert config.store.raw == Duration(1.5 * 86400)
    assert config.ingest.max_body == Size(64 << 20)
    assert config.ingest.socket == Path("/base/run/in.sock")
    assert (check.name, check.plugin.name, check.every, check.timeout) == ("api", "http", 3.0, 3.0)
    assert check.recover == ("restart",)
    assert config.actions["restart"].armed
    options: Any = check.options
    assert (options.url, options.status, options.limit) == (Secret("s3cret", ""), (200, 204), Size(2 << 20))
    assert (options.grace, options.from_, options.password) == (Duration(60), "desk", None)
    assert options.headers == {"A": "b", "Authorization": Secret("s3cret", "")}
    assert "s3cret" not in repr(config)


def test_toml_1_1_is_read(registry: Registry) -> None:
    config = read('http = {\n  listen = "127.0.0.1:1", # a comment\n}\nlive = { listen = "127.0.0.1:2", }\n', registry)
    assert (config.http.listen.port, config.live.listen.port) == (1, 2)


def test_a_byte_order_mark_and_the_line_ends_of_windows_do_no_harm(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b'\xef\xbb\xbf[http]\r\nlisten = "127.0.0.1:7"\r\n')
    assert load(file, registry).http.listen.port == 7


def test_a_builtin_rule_is_changed_key_by_key_or_taken_out(registry: Registry) -> None:
    config = read('[rules.check_failing]\nseverity = "info"\n[rules.recovery_exhausted]\nenabled = false', registry)
    assert config.rules["check_failing"].severity == "info"
    assert config.rules["check_failing"].expr == "check_breaker_open > 0"
    assert "recovery_exhausted" not in config.rules


def test_a_rule_arrives_whole(registry: Registry) -> None:
    config = read(
        '[rules.r]\nexpr = "up == 0"\nfor = "90s"\nkeep_firing_for = "5m"\nclear = "up == 1"\nseverity = "emergency"\n'
        'labels = { desk = "fx" }\nsummary = "{labels.job} {value:.1f}"\nrunbook = "https://x"',
        registry,
    )
    rule = config.rules["r"]
    assert (rule.name, rule.for_, rule.keep_firing_for, rule.clear) == ("r", 90.0, 300.0, "up == 1")
    assert (rule.severity, rule.labels, rule.runbook) == ("emergency", {"desk": "fx"}, "https://x")


def test_two_readings_of_one_file_are_equal_so_that_a_reload_sees_what_changed(registry: Registry) -> None:
    text = '[checks.a]\ntype = "http"\nurl = "http://a"\n[checks.b]\ntype = "http"\nurl = "http://b"\n'
    before, same, after = (
        read(text, registry),
        read(text, registry),
        read(text.replace("http://b", "http://c"), registry),
    )
    assert before == same
    assert before.checks["a"] == after.checks["a"]
    assert before.checks["b"] != after.checks["b"]


def test_the_state_directory_of_systemd_is_where_relative_paths_begin(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("")
    assert load(file, registry).store.path == tmp_path / "var/trader_monitor.db"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/trader-monitor:/other")
    assert load(file, registry).store.path == Path("/var/lib/trader-monitor/var/trader_monitor.db")


def test_what_ships_is_valid_and_every_example_in_it_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    registry = Registry.load()
    shipped = load(SHIPPED, registry)
    assert shipped.collectors
    monkeypatch.setenv("TRADER_MONITOR_TOKEN", "x" * 20)
    monkeypatch.setenv("DESK_WEBHOOK_SECRET", "x" * 20)
    text = uncommented(SHIPPED.read_text())
    every = parse(text, registry, base=tmp_path)
    assert {"freqtrade", "momentum_bot"} <= set(every.checks)
    assert {"bots", "venue_gateway"} <= set(every.collectors)
    assert every.actions["restart_freqtrade"].armed is False
    assert "desk" in every.channels
    assert every.http.tokens


def uncommented(text: str) -> str:
    """The shipped file with each commented key and table in force."""
    lines = []
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        commented = line.startswith("# ") and (bare.startswith("[") or " = " in bare.partition("#")[0][:24])
        lines.append(bare if commented else line)
    return "\n".join(lines)


@pytest.mark.parametrize("hundredth", range(100))
def test_a_file_cut_short_is_valid_or_refused_and_never_a_traceback(hundredth: int, registry: Registry) -> None:
    raw = SHIPPED.read_bytes()
    text = raw[: len(raw) * hundredth // 100].decode(errors="ignore")
    try:
        parse(text, registry, base=Path("/base"))
        errors = []
    except ConfigErrors as wrong:
        errors = [error.expected for error in wrong.errors]
        refused = True
    else:
        refused = False
    assert refused == bool(errors)
    assert all(errors)


def test_every_byte_of_a_small_file_may_be_the_last(registry: Registry) -> None:
    text = "[http]\nlisten = \"127.0.0.1:1\"\n[rules.\"a\"]\nexpr = '''up'''\nlabels = { x = \"y\", }\n"
    outcomes = set()
    for end in range(len(text)):
        try:
            parse(text[:end], registry, base=Path("/base"))
            outcomes.add("valid")
        except ConfigErrors:
            outcomes.add("refused")
    assert outcomes == {"valid", "refused"}


@given(st.text(alphabet="[]{}=\"'.\\\n#, abc1", max_size=60))
def test_lines_are_found_in_any_text(text: str) -> None:
    count = text.count("\n") + 1
    assert all(1 <= line <= count for line in find_lines(text).values())


def test_lines_of_every_way_to_write_a_path() -> None:
    text = 'a.b = 1\n[c."d e"] # [x]\nf = """\n[no]\ng = 2\n"""\n\'h\' = [\n  1, # i = 3\n]\n'
    text += "j = { k = 1,\n l = 2 }\nm = 4\n"
    lines = find_lines(text)
    wanted = {("a", "b"): 1, ("c", "d e"): 2, ("c", "d e", "f"): 3, ("c", "d e", "h"): 7, ("c", "d e", "j"): 10}
    assert lines == {**wanted, ("c", "d e", "m"): 12}
    assert line_of(lines, ("c", "d e", "j", "l")) == 10
    assert line_of(lines, ("c", "d e", "h", 0)) == 7
    assert line_of(lines, ("c",)) == 2
    assert line_of(lines, ("z",)) is None


def test_a_path_is_shown_as_toml_would_write_it() -> None:
    assert dotted(("checks", "the api", "recover", 0)) == 'checks."the api".recover[0]'


def test_every_rule_that_the_readme_says_what_to_do_about_is_built_in() -> None:
    table = README.read_text().partition("### What to do when")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE))
    assert len(named) >= 6
    assert named <= set(tomli.loads(BUILTIN_RULES.read_text())["rules"])
