"""What plugins refuse of their options: told under the key that holds it, all of it at once, and no secret shown."""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path
from typing import Any

import pytest

from trader_monitor.config.errors import ConfigErrors
from trader_monitor.config.load import parse
from trader_monitor.config.values import Secret
from trader_monitor.runtime.options import OptionError, OptionFault, refuse, unless, wrong_address
from trader_monitor.runtime.registry import Plugin, Registry

REGISTRY = Registry.load()
ADDRESS = "expected an address that begins with http:// or https:// and holds no spaces"
HEADER = "expected the name of a header that is not set already"
PATTERN = "expected a regular expression: "

CASES: list[tuple[str, str, str, list[str]]] = [
    ("action", "command", 'argv = ["systemctl"]',
     ['argv = ["systemctl"]: expected an absolute path first, such as ["/usr/bin/systemctl", "status"]']),
    ("action", "command", "argv = []", ["argv = []: expected an absolute path first"]),
    ("action", "command", 'argv = ["bin", "a\\u0000b"]',
     ['argv = ["bin", "a\\u0000b"]: expected an absolute path first',
      'argv = ["bin", "a\\u0000b"]: expected no NUL character']),
    ("action", "systemd", 'unit = "bot"', ['unit = "bot": expected a unit\'s name such as "freqtrade.service"']),
    ("action", "http", 'url = "hunter2"\nheaders = { "a b" = "c", X = "hunter2\\r\\n" }',
     [f"url: {ADDRESS}", f'headers."a b": {HEADER}', "headers.X: expected printable characters"]),
    ("check", "heartbeat", 'source = "bot"\nmissed = 0.5', ["missed = 0.5: expected at least 1"]),
    ("check", "http", 'url = "http://[hunter2/"\nmatches = "("\nheaders = { "é" = "c" }',
     [f"url: {ADDRESS}", f'matches = "(": {PATTERN}', f'headers."é": {HEADER}']),
    ("check", "http", 'url = { env = "HUNTER" }', [f"url: {ADDRESS}"]),
    ("check", "process", 'match = "["\nleast = -1\nmost = -2',
     [f'match = "[": {PATTERN}', "least = -1: expected at least 0", "most = -2: expected at least as many as `least`"]),
    ("check", "process", 'match = "x"\nmost = 0', ["most = 0: expected at least as many as `least`"]),
    ("check", "tcp", 'host = "x"\nport = 65536', ["port = 65536: expected a port between 1 and 65535"]),
    ("channel", "webhook", 'url = "hooks.example/hunter2"\nheaders = { Host = "hunter2", X = { env = "HUNTER" } }',
     [f"url: {ADDRESS}", f"headers.Host: {HEADER}", "headers.X: expected printable characters"]),
    ("collector", "bots", 'match = "*"', [f'match = "*": {PATTERN}']),
    ("collector", "scrape", 'url = "localhost:9100/metrics"', [f'url = "localhost:9100/metrics": {ADDRESS}']),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name", "written", "wanted"), CASES, ids=[f"{c[0]}-{c[1]}: {c[2][:30]}" for c in CASES]
)
def test_a_fault_is_told_under_its_key_with_the_value_as_it_is_written(
    kind: str, name: str, written: str, wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUNTER", "hunter2\x07")
    with pytest.raises(ConfigErrors) as raised:
        parse(f'[{kind}s.mine]\ntype = "{name}"\n{written}\n', REGISTRY, base=Path("/base"))
    found = [str(error) for error in raised.value.errors]
    assert len(found) == len(wanted), found
    for error, fault in zip(found, wanted, strict=True):
        where, _, rest = error.partition(": ")
        key = fault.split()[0].rstrip(":")
        line = 3 + next(at for at, line in enumerate(written.split("\n")) if line.startswith(key.partition(".")[0]))
        assert where == f"line {line}"
        assert rest.startswith(f"{kind}s.mine.{fault}"), error
        assert error.isprintable()
    assert "hunter2" not in str(raised.value)


def validating() -> list[Plugin]:
    return [plugin for plugin in REGISTRY if hasattr(plugin.options, "__post_init__")]


def test_every_plugin_that_validates_is_among_the_cases() -> None:
    assert {(plugin.kind, plugin.name) for plugin in validating()} == {case[:2] for case in CASES}


@pytest.mark.parametrize("it", validating(), ids=lambda it: f"{it.kind}-{it.name}")
def test_a_plugin_refuses_in_one_way_alone(it: Plugin) -> None:
    method: Any = it.options.__post_init__  # type: ignore[attr-defined]
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Raise)], "it gives its faults to `refuse`"
    assert any(isinstance(node, ast.Name) and node.id == "refuse" for node in ast.walk(tree))


def test_nothing_found_is_nothing_refused() -> None:
    refuse()
    refuse(unless(True, "a", "expected b"), ())
    with pytest.raises(OptionError, match=r"^a: expected b; c\.d\.0: expected e$") as caught:
        refuse(unless(False, "a", "expected b"), (), unless(False, ("c", "d", 0), "expected e"))
    assert caught.value.faults == (OptionFault("a", "expected b"), OptionFault(("c", "d", 0), "expected e"))


@pytest.mark.parametrize(
    "address",
    [
        "http://h",
        "HTTPS://h/x?y=z#w",
        "http://127.0.0.1:8008/",
        "http://[::1]:8008/",
        "https://me:pass@desk.example/",
        "http://bücher.example/",
        "http://_service/",
    ],
)
def test_what_is_an_address(address: str) -> None:
    assert wrong_address("url", address) == ()
    assert wrong_address("url", Secret(address, "test")) == ()


@pytest.mark.parametrize(
    "address",
    ["", "h", "//h", "ftp://h", "http://", "http:///x", "http://?x", "http://:80/", "http://h:x/", "http://h:99999/",
     "http://h /", "http://h/a b", "http://h/\n", "http://[::1/", "http://a..b/", f"http://{'a' * 64}/", " http://h"],
)  # fmt: skip
def test_what_is_none(address: str) -> None:
    assert [fault.key for fault in wrong_address("url", address)] == ["url"]
