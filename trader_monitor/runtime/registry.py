"""The register of plugins: what is there by kind and name, and how each is called.

A plugin is one file: an options struct, a decorator with its name, one function. `async def` runs on the event
loop, `def` in a worker thread; that is decided here, so nobody can block the loop by mistake. The deadline
belongs to the caller.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import msgspec

from trader_monitor.runtime.threads import StillRunning

if TYPE_CHECKING:
    from trader_monitor.runtime.env import Env

__all__ = ["DeliveryError", "Kind", "Plugin", "Registry", "action", "channel", "check", "collector"]

Kind: TypeAlias = Literal["collector", "check", "action", "channel"]
KINDS: tuple[Kind, ...] = ("collector", "check", "action", "channel")
ENTRY_POINTS = "trader_monitor.plugins"
CHANNEL_THREADS = 16
"""Deliveries of one channel that may be left behind in threads: one that hangs must not make the channel mute."""


class DeliveryError(Exception):
    """A channel could not deliver: for good (`permanent`), or for now, perhaps until `retry_after` seconds."""

    def __init__(self, message: str, *, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after


class Plugin(NamedTuple):
    """One registered function. `help` is its docstring's first line."""

    kind: Kind
    name: str
    options: type[msgspec.Struct]
    function: Callable[..., Any]

    @property
    def help(self) -> str:
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    async def call(self, options: msgspec.Struct, env: Env, *more: Any) -> Any:
        """Runs the function where it belongs.

        A thread that outlives its deadline is left behind; while it runs, the same question raises StillRunning.
        """
        if inspect.iscoroutinefunction(self.function):
            return await self.function(options, env, *more)
        question = (self.kind, self.name, options)
        most = CHANNEL_THREADS if self.kind == "channel" else 1
        try:
            return await env.threads.run(
                question, self.function, options, env, *more, mono=lambda: env.clock.now().mono, most=most
            )
        except StillRunning:
            env.meters.count("monitor_calls_held_total", kind=self.kind, plugin=self.name)
            raise
        finally:
            env.meters.set("monitor_threads_left_behind", float(env.threads.left))


_MARK = "__trader_monitor_plugin__"


def _mark(kind: Kind) -> Callable[[str, type[msgspec.Struct]], Callable[[Callable[..., Any]], Callable[..., Any]]]:
    def named(name: str, options: type[msgspec.Struct]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            setattr(function, _MARK, Plugin(kind, name, options, function))
            return function

        return decorate

    named.__doc__ = f"Registers the decorated function as the {kind} `name` with its options struct."
    return named


collector = _mark("collector")
check = _mark("check")
action = _mark("action")
channel = _mark("channel")


class Registry:
    """The plugins of this installation: our own files, and those of others by entry point."""

    def __init__(self, plugins: dict[tuple[Kind, str], Plugin]) -> None:
        self._plugins = plugins

    @classmethod
    def load(cls) -> Registry:
        """Imports every plugin file. Two plugins of one kind and name raise ValueError."""
        found: dict[tuple[Kind, str], Plugin] = {}
        package = importlib.import_module("trader_monitor.plugins")
        names = [m.name for m in pkgutil.walk_packages(package.__path__, "trader_monitor.plugins.") if not m.ispkg]
        modules = [importlib.import_module(name) for name in names]
        modules += [entry.load() for entry in entry_points(group=ENTRY_POINTS)]
        for module in modules:
            for value in vars(module).values():
                plugin = getattr(value, _MARK, None)
                if not isinstance(plugin, Plugin) or plugin.function.__module__ != module.__name__:
                    continue
                key = (plugin.kind, plugin.name)
                if found.get(key, plugin) != plugin:
                    raise ValueError(f"two {plugin.kind}s are named {plugin.name!r}")
                found[key] = plugin
        return cls(found)

    def get(self, kind: Kind, name: str) -> Plugin | None:
        return self._plugins.get((kind, name))

    def names(self, kind: Kind) -> list[str]:
        return sorted(name for of, name in self._plugins if of == kind)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._plugins.values())
