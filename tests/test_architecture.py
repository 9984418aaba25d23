"""The house keeps its floors: who may import whom, read from every module's own imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1] / "trader_monitor"
PACKAGE = "trader_monitor"
MOST_LINES = 400

# What a room may import of the others. "values" is config/values.py, a floor of its own between core and runtime.
MAY = {
    "core": {"core"},
    "values": {"core"},
    "runtime": {"core", "values", "runtime"},
    "config": {"core", "values", "runtime", "config"},
    "plugins": {"core", "values", "runtime"},
    "loops": {"core", "values", "runtime", "config"},
    "web": {"core", "values", "runtime", "config", "web"},
    "reports": {"core", "values", "runtime", "reports"},
    "client": {"facts", "client"},
    "cli": {
        "core",
        "values",
        "runtime",
        "config",
        "plugins",
        "loops",
        "web",
        "reports",
        "client",
        "cli",
        "daemon",
        "top",
    },
    "daemon": {"core", "values", "runtime", "config", "plugins", "loops", "web", "daemon", "top"},
    "top": {"cli", "top"},
}
BANNED_IN_CORE = {
    *("anyio", "asyncio", "sqlite3", "time", "random", "structlog", "aiohttp", "logging", "threading", "socket"),
    *("os", "io", "pathlib", "secrets", "subprocess", "tempfile", "shutil", "psutil", "websockets", "uuid"),
}
STATISTICS = f"{PACKAGE}.runtime.statistics"
"""The worker's own process; what it needs, the daemon would carry for nothing."""
BANNED_BUT_THERE = {"scipy"}
BANNED_EVERYWHERE = {"rich", "pandas", "requests", "uvloop", "pydantic", "yaml"}
BANNED_IN_CLIENT = {"numpy", "anyio", "structlog", "psutil", "aiohttp", "promql_parser", "prometheus_client"}


class Import(NamedTuple):
    module: str
    line: int
    names: tuple[str, ...]
    level: int
    typing_only: bool


class _Reader(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[Import] = []
        self._typing_only = False

    def visit_If(self, node: ast.If) -> None:
        names = {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)}
        names |= {n.attr for n in ast.walk(node.test) if isinstance(n, ast.Attribute)}
        before, self._typing_only = self._typing_only, self._typing_only or "TYPE_CHECKING" in names
        for statement in node.body:
            self.visit(statement)
        self._typing_only = before
        for statement in node.orelse:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.found.append(Import(alias.name, node.lineno, (), 0, self._typing_only))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        names = tuple(alias.name for alias in node.names)
        self.found.append(Import(node.module or "", node.lineno, names, node.level, self._typing_only))


def read(source: str) -> list[Import]:
    reader = _Reader()
    reader.visit(ast.parse(source))
    return reader.found


@cache
def house() -> dict[str, list[Import]]:
    """The imports of every module, by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = read(path.read_text())
    return found


def room(module: str) -> str:
    """Which room a module of ours is in."""
    if module == f"{PACKAGE}.config.values":
        return "values"
    parts = module.split(".")
    if len(parts) < 2:
        return "top"
    return parts[1] if parts[1] in MAY else "top"


def targets(given: Import) -> Iterator[str]:
    """The modules of ours that an import reaches: `from x import y` reaches x.y where that is a module."""
    if given.module.split(".")[0] != PACKAGE:
        return
    children = [f"{given.module}.{name}" for name in given.names]
    modules = [child for child in children if child in house()]
    yield from modules
    if not given.names or len(modules) < len(given.names):
        yield given.module


def trespasses(module: str, imports: list[Import]) -> list[str]:
    """What a module imports against the rules, each as a line to read."""
    here, may, found = room(module), MAY[room(module)], []
    for each in imports:
        where = f"{module}:{each.line}"
        if each.level:
            found.append(f"{where} imports by a relative path")
        top = each.module.split(".")[0]
        if top in BANNED_EVERYWHERE:
            found.append(f"{where} imports {each.module}, which nobody may")
        if top in BANNED_BUT_THERE and not module.startswith(f"{STATISTICS}."):
            found.append(f"{where} imports {each.module}: only the statistics worker may")
        if here == "core" and top in BANNED_IN_CORE:
            found.append(f"{where} imports {each.module}: core is pure")
        if here == "client" and top in BANNED_IN_CLIENT and not each.typing_only:
            found.append(f"{where} imports {each.module}: the client is tiny")
        for target in targets(each):
            there = room(target)
            allowed = there in may or (there == "core" and "facts" in may and target == f"{PACKAGE}.core.facts")
            # A name for a type alone is no dependency at run time; upward it may go from runtime to config only.
            allowed = allowed or (each.typing_only and (here, there) == ("runtime", "config"))
            # Loops, and plugins, are neighbours that do not know each other.
            if here in {"loops", "plugins"} and there == here:
                allowed = False
            if not allowed:
                found.append(f"{where} imports {target}: {here} may not see {there}")
            if there != here and any(name.startswith("_") and name != "__version__" for name in each.names):
                found.append(f"{where} imports a private name of {target}")
    return found


def test_every_module_keeps_to_its_floor() -> None:
    found = [line for module, imports in house().items() for line in trespasses(module, imports)]
    assert not found, "\n" + "\n".join(found)


def test_trading_and_models_share_statistics_and_nothing_else() -> None:
    """What both need belongs beside them: neither sees the other, and statistics sees neither."""
    apart = {"trading": {"models"}, "models": {"trading"}, "statistics": {"trading", "models"}}
    found = [
        f"{module}:{each.line} imports {target}"
        for module, imports in house().items()
        for each in imports
        for target in targets(each)
        for here, strangers in apart.items()
        for there in strangers
        if f"{module}.".startswith(f"{PACKAGE}.core.{here}.") and f"{target}.".startswith(f"{PACKAGE}.core.{there}.")
    ]
    assert not found, "\n" + "\n".join(found)


def test_no_module_is_longer_than_one_thing_can_be() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in ROOT.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert not long, f"split these by what they know: {long}"


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if (text := path.read_text().strip()) and ast.get_docstring(ast.parse(text)) is None
    ]
    assert not silent


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("core.board", "import time", "core is pure"),
        ("core.board", "from asyncio import sleep", "core is pure"),
        ("core.board", "def f():\n    import random", "core is pure"),
        ("core.board", "from trader_monitor.runtime.clock import Clock", "core may not see runtime"),
        ("core.board", "from trader_monitor.runtime import clock", "core may not see runtime"),
        ("core.board", "from . import facts", "relative path"),
        ("runtime.store", "from trader_monitor.config.tables import Config", "runtime may not see config"),
        ("runtime.store", "from trader_monitor.loops.pulse import pulse", "runtime may not see loops"),
        ("runtime.store", "from trader_monitor.core.facts import _hidden", "private name"),
        ("loops.notify", "from trader_monitor.loops.pulse import pulse", "loops may not see loops"),
        ("loops.notify", "import trader_monitor.plugins.channels", "loops may not see plugins"),
        ("plugins.checks.tcp", "from trader_monitor.plugins.checks import http", "plugins may not see plugins"),
        ("plugins.checks.tcp", "from trader_monitor.config.tables import Config", "plugins may not see config"),
        ("web.app", "from trader_monitor.loops.pulse import pulse", "web may not see loops"),
        ("client", "from trader_monitor.core.board import Board", "client may not see core"),
        ("client", "import numpy", "the client is tiny"),
        ("daemon", "import rich.console", "nobody may"),
        ("core.models.drift", "from scipy import stats", "only the statistics worker may"),
        ("runtime.predictions", "def f():\n    import scipy.stats", "only the statistics worker may"),
    ],
)
def test_a_trespass_is_seen(module: str, source: str, fault: str) -> None:
    """The rules above can fail."""
    (found,) = trespasses(f"{PACKAGE}.{module}", read(source))
    assert fault in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.board", "from trader_monitor.core.facts import Fact\nimport numpy, msgspec, math"),
        ("runtime.env", "if TYPE_CHECKING:\n    from trader_monitor.config.tables import Config"),
        ("runtime.log", "from trader_monitor.config.values import Secret"),
        ("loops.notify", "from trader_monitor.config.tables import ChannelTable"),
        ("client", "from trader_monitor.core.facts import Trade"),
        ("runtime.statistics.drift", "from scipy import stats"),
        ("daemon", "from trader_monitor.loops import pulse"),
    ],
)
def test_what_is_allowed_is_allowed(module: str, source: str) -> None:
    assert not trespasses(f"{PACKAGE}.{module}", read(source))
