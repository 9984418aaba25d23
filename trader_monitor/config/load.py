"""A TOML file into a `Config`, or every error at once. It reads the file, the secrets and calendars it names, and
nothing else.

Relative paths are taken from systemd's `$STATE_DIRECTORY` where there is one, and otherwise from the file's folder,
so that the store does not depend on the folder that somebody happened to stand in.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import tomli

from trader_monitor.config import crosscheck
from trader_monitor.config.calendars import Calendars
from trader_monitor.config.convert import Converter
from trader_monitor.config.errors import ConfigError, ConfigErrors, Place, Report, among, close_to
from trader_monitor.config.lines import find_lines, line_of
from trader_monitor.config.tables import (
    ActionTable,
    ChannelTable,
    CheckTable,
    CollectorTable,
    Config,
    ExchangeTable,
    Http,
    Ingest,
    Live,
    Logging,
    Models,
    Performance,
    Rule,
    RuleTable,
    Store,
    Trading,
)
from trader_monitor.config.values import Duration
from trader_monitor.runtime.registry import Kind, Registry

__all__ = ["ConfigError", "ConfigErrors", "load", "parse"]

SIZE_LIMIT: Final = 1 << 20
BUILTIN_RULES: Final = Path(__file__).parent.parent / "rules.toml"
SINGLE: Final[dict[str, type[msgspec.Struct]]] = {
    "http": Http,
    "live": Live,
    "ingest": Ingest,
    "store": Store,
    "logging": Logging,
    "trading": Trading,
    "models": Models,
    "performance": Performance,
}
NAMED: Final = ("collectors", "checks", "actions", "rules", "channels", "calendars", "exchanges")
DEFAULT_CHANNELS: Final = ("log",)
"""What an installation without a `[channels]` table still has: never mute."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
P = TypeVar("P", CollectorTable, CheckTable, ActionTable, ChannelTable)


def load(path: Path, registry: Registry) -> Config:
    """Reads and checks the file. Raises ConfigErrors with all that is wrong."""
    try:
        text = _read(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigErrors([ConfigError("", None, reason)], str(path)) from None
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return parse(text, registry, base=Path(state) if state else path.resolve().parent, file=path)


def parse(text: str, registry: Registry, *, base: Path, file: Path | None = None) -> Config:
    """The same from a text; relative paths are taken from `base`. Raises ConfigErrors."""
    name = str(file or "")
    try:
        raw = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise ConfigErrors([ConfigError("", None, f"not TOML: {error.msg}", line=error.lineno)], name) from None
    except RecursionError as error:
        raise ConfigErrors([ConfigError("", None, f"not taken: {error}")], name) from None
    report = Report()
    config = _Reading(raw, registry, report, base).config(file)
    if report.found:
        lines = find_lines(text)
        placed = [error._replace(line=line_of(lines, place)) for place, error in report.found]
        raise ConfigErrors(sorted(placed, key=lambda error: error.line or 0), name)
    return config


def _read(path: Path) -> str:
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("is not a regular file")
        if about.st_mode & stat.S_IWOTH:
            raise ValueError("is writable by everyone, so anybody could arm an action: chmod o-w it")
        content = file.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise ValueError("is larger than 1 MiB, which no configuration needs")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 (byte {error.start})") from None


class _Reading:
    """One pass over one file."""

    def __init__(self, raw: dict[str, Any], registry: Registry, report: Report, base: Path) -> None:
        self.raw = raw
        self.registry = registry
        self.report = report
        self.convert = Converter(report, base)
        self.base = base

    def config(self, file: Path | None) -> Config:
        known = {*SINGLE, *NAMED}
        for key in self.raw:
            if key not in known:
                self.report.wrong((key,), "unknown table", hint=close_to(key, known))
        http = self._single("http", Http())
        live = self._single("live", Live())
        ingest = self._single("ingest", Ingest())
        store = self._single("store", Store(path=self.base / Store().path))
        if not store.path.is_absolute():
            store = msgspec.structs.replace(store, path=self.base / store.path)
        trading = self._single("trading", Trading())
        checks = self._plugins("checks", "check", CheckTable)
        actions = self._plugins("actions", "action", ActionTable)
        rules = self._rules()
        exchanges = self._exchanges()
        wanted: list[tuple[str | None, Place]] = [
            *((rule.during, ("rules", name, "during")) for name, rule in rules.items()),
            *((table.calendar, ("exchanges", name, "calendar")) for name, table in exchanges.items()),
            (trading.calendar, ("trading", "calendar")),
            *((own.calendar, ("trading", "accounts", at, "calendar")) for at, own in enumerate(trading.accounts)),
        ]

        crosscheck.addresses(http, live, self.report)
        crosscheck.origins(live, self.report)
        crosscheck.socket(ingest, self.report)
        crosscheck.tiers(store, self.report)
        crosscheck.limits(trading, self.report)
        performance = self._single("performance", Performance())
        crosscheck.baselines(performance, self.report)
        crosscheck.actions(actions, self._table("actions"), self.report)
        crosscheck.ladders(self._ladders(checks), self._table("actions"), actions, self.report)
        crosscheck.expressions(checks, self.report)
        crosscheck.rules(rules.values(), self.report)
        return Config(
            file=file,
            http=http,
            live=live,
            ingest=ingest,
            store=store,
            logging=self._single("logging", Logging()),
            trading=trading,
            models=self._single("models", Models()),
            performance=performance,
            collectors=self._plugins("collectors", "collector", CollectorTable, self._always()),
            checks=checks,
            actions=actions,
            rules=rules,
            calendars=Calendars(self._named("calendars"), self.convert).read(wanted),
            exchanges=exchanges,
            channels=self._plugins(
                "channels", "channel", ChannelTable, () if "channels" in self.raw else DEFAULT_CHANNELS
            ),
        )

    def _table(self, name: str) -> dict[str, Any]:
        value = self.raw.get(name, {})
        return value if isinstance(value, dict) else {}

    def _ladders(self, checks: Mapping[str, CheckTable]) -> dict[str, tuple[str, ...]]:
        """Those of the wrong checks too, so that one wrong key hides no other."""
        read = {name: check.recover for name, check in checks.items()}
        for name, value in self._table("checks").items():
            written = value.get("recover") if isinstance(value, dict) and value.get("enabled") is not False else None
            if name not in read and isinstance(written, list) and all(isinstance(rung, str) for rung in written):
                read[name] = tuple(written)
        return read

    def _single(self, name: str, default: Any) -> Any:
        if name not in self.raw:
            return default
        read = self.convert.struct(type(default), self.raw[name], (name,))
        return read if isinstance(read, type(default)) else default

    def _named(self, section: str) -> dict[str, dict[str, Any]]:
        """The section's tables by name; what is not a table, or badly named, is reported and left out."""
        if not isinstance(self.raw.get(section, {}), dict):
            self.report.wrong((section,), f"expected tables, written as [{section}.NAME]", value=self.raw[section])
        tables = {}
        for name, value in self._table(section).items():
            if not isinstance(value, dict):
                hint = f"write [{section}.NAME] above it"
                self.report.wrong((section, name), "expected a table", hint=hint)
            elif not _NAME.fullmatch(name):
                expected = "is not a name: a letter, then at most 63 letters, digits and _ . : -"
                self.report.wrong((section, name), expected)
            else:
                tables[name] = value
        return tables

    def _always(self) -> list[str]:
        """The collectors that need no option are on without being named: never blind."""
        found = []
        for name in self.registry.names("collector"):
            plugin = self.registry.get("collector", name)
            if plugin is not None and not any(field.required for field in msgspec.structs.fields(plugin.options)):
                found.append(name)
        return found

    def _plugins(self, section: str, kind: Kind, table: type[P], default: Iterable[str] = ()) -> dict[str, P]:
        """The section's tables, and those of `default` that it does not name; `enabled = false` takes one out."""
        tables: dict[str, dict[str, Any]] = {name: {} for name in default if self.registry.get(kind, name)}
        read = {}
        for name, value in (tables | self._named(section)).items():
            enabled = self.convert.value(bool, value.get("enabled", True), (section, name, "enabled"))
            one = self._plugin(section, kind, table, name, value)
            if one is not None and enabled:
                read[name] = one
        return read

    def _plugin(self, section: str, kind: Kind, table: type[P], name: str, value: Mapping[str, Any]) -> P | None:
        place: Place = (section, name)
        named = value.get("type", name)
        plugin = self.registry.get(kind, named) if isinstance(named, str) else None
        if plugin is None:
            hint = among(named, self.registry.names(kind), f"{kind}s")
            if "type" in value:
                self.report.wrong((*place, "type"), f"no such {kind}", value=named, hint=hint)
            else:
                self.report.wrong(place, f"there is no {kind} of that name, so it needs a type", hint=hint)
            return None
        common: dict[str, Any] = {"type": named, "enabled": True}
        for field in msgspec.structs.fields(table):
            if field.name in {"name", "plugin", "options"}:
                continue
            if field.encode_name in value:
                common[field.encode_name] = self.convert.value(
                    field.type, value[field.encode_name], (*place, field.encode_name)
                )
            else:
                common.setdefault(field.encode_name, field.default)
        rest = {key: item for key, item in value.items() if key not in common}
        written = {key: item for key, item in common.items() if key in value}
        options = self.convert.struct(plugin.options, rest, place, also=written, names=set(common))
        if self.report.has(place) or not isinstance(options, msgspec.Struct):
            return None
        del common["type"], common["enabled"]
        if "every" in common and "timeout" in common and common["timeout"] > common["every"]:
            if "timeout" in value:
                self.report.wrong((*place, "timeout"), "expected at most `every`", value=value["timeout"])
                return None
            common["timeout"] = Duration(common["every"])
        return table(name=name, plugin=plugin, options=options, **common)

    def _exchanges(self) -> dict[str, ExchangeTable]:
        tables = (
            (name, self.convert.struct(ExchangeTable, value, ("exchanges", name)))
            for name, value in self._named("exchanges").items()
        )
        return {name: table for name, table in tables if isinstance(table, ExchangeTable)}

    def _rules(self) -> dict[str, Rule]:
        """The builtin rules, with what the file says of them laid over, and the file's own."""
        builtin = tomli.loads(BUILTIN_RULES.read_text(encoding="utf-8"))["rules"]
        written = self._named("rules")
        merged = {**builtin, **{name: {**builtin.get(name, {}), **table} for name, table in written.items()}}
        read = {}
        for name, value in merged.items():
            table = self.convert.struct(RuleTable, value, ("rules", name))
            if isinstance(table, RuleTable):
                if table.enabled:
                    read[name] = _rule(name, table)
            else:  # its texts are checked all the same, so that one wrong key hides no other
                texts = {
                    key: value[key] for key in ("expr", "clear", "summary", "during") if isinstance(value.get(key), str)
                }
                read[name] = Rule(name=name, **{"expr": "vector(1)", **texts})
        return read


def _rule(name: str, table: RuleTable) -> Rule:
    return Rule(
        name=name,
        expr=table.expr,
        for_=float(table.for_),
        keep_firing_for=float(table.keep_firing_for),
        clear=table.clear,
        severity=table.severity,
        labels=table.labels,
        summary=table.summary,
        runbook=table.runbook,
        during=table.during,
    )
