"""A register of plugins made for these tests, so that they know every option there is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct, field

from trader_monitor.config.values import Duration, Secret, Size, plain
from trader_monitor.runtime.options import refuse, unless
from trader_monitor.runtime.registry import Plugin, Registry


class Nothing(Struct, frozen=True):
    pass


class Bots(Struct, frozen=True):
    match: Annotated[str, Meta(min_length=1)]
    ratio: float = 0.5


class Http(Struct, frozen=True):
    url: str | Secret
    status: tuple[int, ...] = (200,)
    method: Literal["GET", "HEAD"] = "GET"
    headers: dict[str, str | Secret] = field(default_factory=dict)
    password: Secret | None = None
    follow: bool = False
    limit: Size = Size(1024)
    grace: Duration | None = None
    from_: str = field(default="", name="from")

    def __post_init__(self) -> None:
        refuse(
            unless(self.status != (), "status", "expected at least one code"),
            unless(" " not in self.from_, "from_", "expected one word"),
            *(
                unless(not plain(value).endswith(" "), ("headers", name), "expected no space at the end")
                for name, value in self.headers.items()
            ),
        )


class Pager(Struct, frozen=True):
    number: int

    def __post_init__(self) -> None:
        raise ValueError("there is no such number")


class Expr(Struct, frozen=True):
    expr: str


async def act(*arguments: Any) -> str:
    """Acts."""
    return ""


@pytest.fixture
def registry() -> Registry:
    plugins = [
        Plugin("collector", "host", Nothing, act),
        Plugin("collector", "monitor", Nothing, act),
        Plugin("collector", "bots", Bots, act),
        Plugin("check", "http", Http, act),
        Plugin("check", "promql", Expr, act),
        Plugin("action", "systemd", Nothing, act),
        Plugin("channel", "log", Nothing, act),
        Plugin("channel", "pager", Pager, act),
        Plugin("channel", "webhook", Http, act),
    ]
    return Registry({(plugin.kind, plugin.name): plugin for plugin in plugins})
