"""Plugins: found by their decorator, run where they belong."""

from __future__ import annotations

import threading

import msgspec

from tests.plugins.house import house
from trader_monitor.runtime.registry import Plugin, Registry, check


class Options(msgspec.Struct, frozen=True):
    """Nothing to choose."""


@check("test_thread", Options)
def in_thread(options: Options, env: object) -> str:
    """Tells its thread's name.

    More is not shown.
    """
    return threading.current_thread().name


@check("test_loop", Options)
async def on_loop(options: Options, env: object) -> str:
    """Tells its thread's name."""
    return threading.current_thread().name


def marked(function: object) -> Plugin:
    plugin: Plugin = vars(function)["__trader_monitor_plugin__"]
    return plugin


async def test_a_plain_function_runs_in_a_worker_thread_and_a_coroutine_on_the_loop() -> None:
    here = threading.current_thread().name
    thread = marked(in_thread)
    loop = marked(on_loop)
    async with house() as env:
        assert await thread.call(Options(), env) != here
        assert await loop.call(Options(), env) == here


def test_the_docstrings_first_line_is_the_help() -> None:
    assert marked(in_thread).help == "Tells its thread's name."


def test_the_installed_plugins_load_and_are_known_by_kind_and_name() -> None:
    registry = Registry.load()
    assert {"webhook", "log", "console"} <= set(registry.names("channel"))
    assert {"http", "tcp", "heartbeat", "process", "promql"} <= set(registry.names("check"))
    assert {"http", "command", "systemd"} <= set(registry.names("action"))
    assert registry.get("check", "webhook") is None
