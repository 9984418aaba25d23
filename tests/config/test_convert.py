"""Values of every kind an option may have, by their type hints; and secrets by where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from trader_monitor.config.convert import WRONG, Converter
from trader_monitor.config.errors import Report
from trader_monitor.config.values import Duration, Listen, Secret, Size


class Inner(Struct, frozen=True):
    name: str
    share: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.5


class Outer(Struct, frozen=True):
    pair: tuple[str, int] = ("", 0)
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    tags: list[str] = []
    by_name: dict[str, Duration] = {}
    secrets: dict[str, Secret] = {}
    either: int | str = 0
    url: str | Secret = ""
    port: Annotated[int, Meta(ge=1, le=9)] = 1
    size: Annotated[Size, Meta(le=1024)] = Size(1)
    wait: Annotated[Duration, Meta(lt=60.0)] = Duration(1.0)
    code: Annotated[str, Meta(pattern="^[A-Z]+$", max_length=3)] = "A"
    words: Annotated[tuple[str, ...], Meta(min_length=2)] = ("a", "b")
    key: Annotated[Secret | None, Meta(description="signs")] = None
    folder: Path | None = None
    listen: Listen | None = None
    anything: Any = None


def read(table: dict[str, Any]) -> tuple[Any, list[str]]:
    report = Report()
    outer = Converter(report, Path("/base")).struct(Outer, table, ("t",))
    return outer, [str(error) for _, error in report.found]


RIGHT = [
    ("a pair", {"pair": ["a", 1]}, "pair", ("a", 1)),
    ("a table within", {"inner": {"name": "x", "share": 0.25}}, "inner", Inner("x", 0.25)),
    ("an integer where a number is wanted", {"inner": {"name": "x"}}, "inner", Inner("x", 0.5)),
    ("tables in an array", {"many": [{"name": "x"}]}, "many", (Inner("x"),)),
    ("a list stays a list", {"tags": ["a"]}, "tags", ["a"]),
    ("a table of durations", {"by_name": {"a": "2s"}}, "by_name", {"a": Duration(2.0)}),
    ("either of two types, the one", {"either": 3}, "either", 3),
    ("either of two types, the other", {"either": "x"}, "either", "x"),
    ("a text where a secret may stand too", {"url": "http://x"}, "url", "http://x"),
    ("a relative path begins at the base", {"folder": "x/y"}, "folder", Path("/base/x/y")),
    ("an absolute path stays", {"folder": "/x"}, "folder", Path("/x")),
    ("an address of the sixth protocol", {"listen": "[::1]:9"}, "listen", Listen("::1", 9)),
    ("anything at all", {"anything": [1, {"a": 2}]}, "anything", [1, {"a": 2}]),
    ("a value at its bounds", {"port": 9, "size": "1KiB", "wait": "59s", "code": "ABC"}, "port", 9),
]


@pytest.mark.parametrize(("table", "field", "value"), [c[1:] for c in RIGHT], ids=[c[0] for c in RIGHT])
def test_taken(table: dict[str, Any], field: str, value: object) -> None:
    outer, errors = read(table)
    assert errors == []
    assert getattr(outer, field) == value


WRONGS = [
    ("a pair of three", {"pair": ["a", 1, 2]}, ['t.pair = ["a", 1, 2]: expected 2 values']),
    (
        "a pair of the wrong kinds",
        {"pair": [1, "a"]},
        ["t.pair[0] = 1: expected a string", 't.pair[1] = "a": expected an integer'],
    ),
    ("no table where one belongs", {"inner": 3}, ["t.inner = 3: expected a table"]),
    (
        "a table within, wrong within",
        {"inner": {"nam": 1}},
        ['t.inner.nam: unknown key; did you mean "name"?', "t.inner.name: is missing"],
    ),
    ("at an open bound", {"inner": {"name": "x", "share": 1}}, ["t.inner.share = 1: expected less than 1"]),
    ("at the other open bound", {"inner": {"name": "x", "share": 0.0}}, ["t.inner.share = 0.0: expected more than 0"]),
    ("above the highest", {"port": 10}, ["t.port = 10: expected at most 9"]),
    ("below the lowest", {"port": 0}, ["t.port = 0: expected at least 1"]),
    ("too large", {"size": "2KiB"}, ['t.size = "2KiB": expected at most 1024']),
    ("too long a time", {"wait": "1m"}, ['t.wait = "1m": expected less than 60s']),
    ("too long a text", {"code": "ABCD"}, ['t.code = "ABCD": expected a length of at most 3']),
    ("a text of another pattern", {"code": "a"}, ['t.code = "a": expected to match ^[A-Z]+$']),
    ("too few", {"words": ["a"]}, ['t.words = ["a"]: expected a length of at least 2']),
    ("neither of two types", {"either": 1.5}, ["t.either = 1.5: expected an integer or a string"]),
    (
        "neither a text nor a secret is not shown",
        {"url": ["hunter2"]},
        [
            't.url: expected a string or { env = "NAME" }, { file = "PATH" } or { credential = "NAME" }, '
            "never the secret itself"
        ],
    ),
    ("a secret that is none of three", {"url": {"env": ""}}, ["t.url: expected env to be a non-empty string"]),
    ("a table of secrets that is none is not shown", {"secrets": "hunter2"}, ["t.secrets: expected a table"]),
    ("no table of durations", {"by_name": 3}, ["t.by_name = 3: expected a table"]),
    (
        "a wrong one in a table of durations",
        {"by_name": {"a b": 3}},
        ['t.by_name."a b" = 3: expected a duration such as "30s", "5m" or "1h30m"'],
    ),
    ("an empty path", {"folder": ""}, ['t.folder = "": expected a path']),
    ("a path that ends in the middle", {"folder": "a\0b"}, ['t.folder = "a\\u0000b": expected a path']),
]


@pytest.mark.parametrize(("table", "wanted"), [c[1:] for c in WRONGS], ids=[c[0] for c in WRONGS])
def test_refused(table: dict[str, Any], wanted: list[str]) -> None:
    outer, errors = read(table)
    assert outer is WRONG
    assert errors == wanted
    assert "hunter2" not in repr(errors)


def secret(tmp_path: Path, table: dict[str, Any]) -> tuple[Any, list[str]]:
    report = Report()
    value = Converter(report, tmp_path).value(Secret, table, ("s",))
    return value, [str(error) for _, error in report.found]


def test_a_secret_from_a_file_is_its_content_without_the_last_line_end(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    value, errors = secret(tmp_path, {"file": str(file)})
    assert (value.reveal(), errors) == ("s3cret", [])
    file.chmod(0o666)
    _, errors = secret(tmp_path, {"file": str(file)})
    assert errors == [f"s: {file} is writable by everyone: chmod o-w it"]
    file.chmod(0o600)
    file.write_text("\n")
    assert secret(tmp_path, {"file": str(file)})[1] == [f"s: {file} is empty"]


def test_a_secret_from_systemd_is_a_name_within_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "CREDENTIALS_DIRECTORY is not set" in secret(tmp_path, {"credential": "desk"})[1][0]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "desk").write_text("s3cret")
    assert secret(tmp_path, {"credential": "desk"})[0].reveal() == "s3cret"
    assert secret(tmp_path, {"credential": "../desk"})[1] == ["s: expected a credential's name, not a path"]


def test_a_secret_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK", "s3cret")
    value, _ = secret(tmp_path, {"env": "DESK"})
    assert "s3cret" not in f"{value} {value!r} {[value]} {Outer(key=value)}"
