"""The collector's loop: its instants, its failures, and the end of series."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import anyio
from aiohttp import web
from msgspec import Struct

from tests.parts import running, until
from tests.plugins.house import house, server
from trader_monitor.core.facts import Samples
from trader_monitor.core.series import is_stale
from trader_monitor.loops.collect import collect
from trader_monitor.plugins.collectors.scrape import Options as ScrapeOptions
from trader_monitor.plugins.collectors.scrape import scrape
from trader_monitor.runtime.clock import ManualClock
from trader_monitor.runtime.readings import Partial, Reading, counter, gauge
from trader_monitor.runtime.registry import Plugin

OWN = ("collector_up", "collector_duration_seconds")
DEPTH = gauge("depth", "How deep.")


class Nothing(Struct, frozen=True):
    pass


def tables(function: Callable[..., Any], *, every: float = 15.0, timeout: float = 10.0, options: Any = None) -> Any:
    plugin = Plugin("collector", "it", type(options or Nothing()), function)
    table = SimpleNamespace(name="it", plugin=plugin, every=every, timeout=timeout, options=options or Nothing())
    return SimpleNamespace(collectors={"it": table}, checks={}, actions={})


def values(samples: Samples) -> dict[str, float]:
    return {dict(labels)["__name__"]: value for labels, value in zip(samples.labels, samples.values, strict=True)}


async def test_the_instants_do_not_drift_however_long_a_collection_takes() -> None:
    clock = ManualClock(mono=0.0)

    async def slow(options: Any, env: Any) -> list[Reading]:
        await clock.sleep(4)
        return [DEPTH(1)]

    async with house(tables(slow), clock) as env, running(collect(env, "it")):
        await clock.advance(80)
        rounds = [fact for fact in env.journal.facts if isinstance(fact, Samples)]
        began = [fact.at - rounds[0].at for fact in rounds]
    assert began == [0, 15, 30, 45, 60, 75][: len(began)]
    assert len(began) >= 5
    assert values(rounds[0])["collector_duration_seconds"] == 4


async def test_of_a_collector_two_series_are_the_daemon_s_own_and_all_of_one_that_reads_the_daemon() -> None:
    class Itself(Struct, frozen=True):
        OWN: ClassVar[bool] = True

    async def quick(options: Any, env: Any) -> list[Reading]:
        return [DEPTH(1)]

    for options, own in ((Nothing(), {*OWN}), (Itself(), {*OWN, "depth"})):
        clock = ManualClock(mono=0.0)
        async with house(tables(quick, options=options), clock) as env, running(collect(env, "it")):
            await clock.advance(1)
            (samples,) = env.journal.facts
        assert {dict(labels)["__name__"] for labels in samples.labels[: samples.own]} == own


async def test_a_large_collection_is_recorded_in_parts_that_make_up_the_whole() -> None:
    """Each part is a step of its own, so that others have their turn; what is the daemon's own comes first."""

    async def many(options: Any, env: Any) -> list[Reading]:
        return [DEPTH(number, place=str(number)) for number in range(2500)]

    clock = ManualClock(mono=0.0)
    async with house(tables(many), clock) as env, running(collect(env, "it")):
        parts: list[Samples] = env.journal.facts
        await until(lambda: len(parts) == 3)
    assert [len(part.labels) for part in parts] == [1000, 1000, 502]
    assert [part.own for part in parts] == [2, 0, 0]
    assert {part.at for part in parts} == {parts[0].at}
    assert [bool(part.kinds) for part in parts] == [True, False, False]
    assert sum(value for part in parts for labels, value in zip(part.labels, part.values, strict=True)
               if ("__name__", "depth") in labels) == sum(range(2500))  # fmt: skip


async def test_what_stands_is_written_again_once_a_minute_and_what_changes_at_once() -> None:
    class Calm(Struct, frozen=True):
        STAND: ClassVar[float] = 60.0

    depths = itertools.chain([1, 1, 1, 2, 2], itertools.repeat(None))

    async def slow(options: Any, env: Any) -> list[Reading]:
        width = DEPTH(7, place="there")
        depth = next(depths)
        return [width] if depth is None else [width, DEPTH(depth, place="here")]

    clock = ManualClock(mono=0.0)
    async with house(tables(slow, options=Calm()), clock) as env, running(collect(env, "it")):
        await clock.advance(100)
        facts = [fact for fact in env.journal.facts if isinstance(fact, Samples)]

    def of(place: str) -> list[tuple[float, float | str]]:
        return [
            (fact.at - facts[0].at, "ended" if is_stale(value) else value)
            for fact in facts
            for labels, value in zip(fact.labels, fact.values, strict=True)
            if ("place", place) in labels
        ]

    assert of("there") == [(0, 7), (60, 7)]
    assert of("here") == [(0, 1), (45, 2), (75, "ended")]
    assert all(len(values(fact)) >= 2 for fact in facts), "whether it went well is told each time"


async def test_collectors_of_one_interval_share_their_instants_whenever_they_begin() -> None:
    clock = ManualClock(mono=0.0)

    async def quick(options: Any, env: Any) -> list[Reading]:
        return []

    async with house(tables(quick), clock) as env, running(collect(env, "it")):
        await clock.advance(7)
        async with running(collect(env, "it")):
            await clock.advance(38.5)
            seconds = [round(fact.at - clock.now().wall + 45.5, 3) for fact in env.journal.facts]
    assert seconds == [0, 7, 15, 15, 30, 30, 45, 45]


async def test_collectors_that_ask_others_have_phases_of_their_own() -> None:
    clock = ManualClock(mono=0.0)

    class Spread(Struct, frozen=True):
        SPREAD: ClassVar[bool] = True

    async def quick(options: Any, env: Any) -> list[Reading]:
        return []

    config = tables(quick, options=Spread())
    async with house(config, clock) as env, running(*(collect(env, "it") for _ in range(8))):
        await clock.advance(1)
        begun = len(env.journal.facts)
        assert begun >= 8, "the first round comes soon"
        await clock.advance(45)
        phases = {round((fact.at - clock.now().wall + 46) % 15, 3) for fact in env.journal.facts[begun:]}
    assert len(phases) == 8


async def test_instants_that_a_long_collection_missed_are_left_out_and_counted() -> None:
    clock = ManualClock(mono=0.0)

    async def slow(options: Any, env: Any) -> list[Reading]:
        await clock.sleep(7)
        return []

    async with house(tables(slow, every=2.0, timeout=30.0), clock) as env, running(collect(env, "it")):
        await clock.advance(26)
        began = [fact.at for fact in env.journal.facts]
        missed = env.meters.get("monitor_collections_missed_total", collector="it")
    assert [b - a for a, b in itertools.pairwise(began)] == [8, 8]
    assert missed >= 6


async def test_a_failing_collector_is_a_metric_and_goes_on() -> None:
    clock = ManualClock()
    turns: Iterator[list[Reading] | Exception] = iter([[DEPTH(1)], RuntimeError("no such sensor"), [DEPTH(2)]])

    async def moody(options: Any, env: Any) -> list[Reading]:
        turn = next(turns)
        if isinstance(turn, Exception):
            raise turn
        return turn

    async with house(tables(moody), clock) as env, running(collect(env, "it")):
        await clock.advance(32)
        good, bad, again = [values(fact) for fact in env.journal.facts]
        assert env.meters.get("monitor_collections_failed_total", collector="it") == 1
    assert (good["collector_up"], bad["collector_up"], again["collector_up"]) == (1, 0, 1)
    assert good["depth"] == 1
    assert is_stale(bad["depth"]), "a collector that fails has nothing to say, and its series end"
    assert again["depth"] == 2


async def test_what_a_partly_failed_collection_knows_is_kept() -> None:
    async def partly(options: Any, env: Any) -> list[Reading]:
        raise Partial("one of two disks", [DEPTH(3)])

    async with house(tables(partly)) as env, running(collect(env, "it")):
        fact = await env.journal.want(lambda fact: True)
    assert values(fact) == {"depth": 3, "collector_up": 0} | {
        "collector_duration_seconds": values(fact)["collector_duration_seconds"]
    }


async def test_a_collector_that_hangs_meets_its_deadline() -> None:
    async def hang(options: Any, env: Any) -> list[Reading]:
        await anyio.sleep_forever()
        return []

    async with house(tables(hang, timeout=0.05)) as env, running(collect(env, "it")):
        fact = await env.journal.want(lambda fact: True, within=3)
    assert values(fact)["collector_up"] == 0


async def test_kinds_are_told_when_new_and_when_changed() -> None:
    clock = ManualClock()
    turns = iter([[gauge("a", "One.")(1)], [gauge("a", "One.")(1)], [counter("a", "Two.")(1)]])

    async def changing(options: Any, env: Any) -> list[Reading]:
        return next(turns)

    async with house(tables(changing), clock) as env, running(collect(env, "it")):
        await clock.advance(32)
        first, second, third = [fact.kinds for fact in env.journal.facts]
    assert first["a"] == ("gauge", "One.")
    assert set(first) == {"a", "collector_up", "collector_duration_seconds"}
    assert second == {}
    assert third == {"a": ("counter", "Two.")}


async def test_names_that_prometheus_refuses_and_label_sets_twice_are_left_out_and_counted() -> None:
    async def odd(options: Any, env: Any) -> list[Reading]:
        return [
            Reading("ok", {"a": "1", "empty": ""}, 1),
            Reading("ok", {"a": "1"}, 2),
            Reading("not-ok", {}, 3),
            Reading("ok", {"not-ok": "1"}, 4),
            Reading("ok", {"__name__": "x"}, 5),
            Reading("", {}, 6),
        ]

    async with house(tables(odd)) as env, running(collect(env, "it")):
        fact = await env.journal.want(lambda fact: True)
        await until(lambda: env.meters.get("monitor_readings_refused_total", collector="it") == 5)
    assert [v for labels, v in zip(fact.labels, fact.values, strict=True) if ("__name__", "ok") in labels] == [1]


async def test_series_and_targets_that_vanish_get_the_staleness_marker() -> None:
    clock = ManualClock()
    bodies = iter([(200, 'a{x="1"} 1\na{x="2"} 2\n'), (200, 'a{x="1"} 1\n'), (500, "")])

    async def answer(_: web.Request) -> web.Response:
        status, body = next(bodies, (500, ""))
        return web.Response(status=status, text=body)

    async with server(answer) as url:
        config = tables(scrape, options=ScrapeOptions(url=url))
        async with house(config, clock) as env, running(collect(env, "it")):

            def arrived(least: int) -> bool:
                return len(env.journal.facts) >= least

            for wanted in (1, 2, 3):
                await clock.advance(15)
                await until(partial(arrived, wanted))
            _, second, third = env.journal.facts[:3]
    marks = {
        dict(labels).get("x"): is_stale(v)
        for labels, v in zip(second.labels, second.values, strict=True)
        if ("__name__", "a") in labels
    }
    assert marks == {"1": False, "2": True}
    assert is_stale(values(third)["a"])
    assert values(third)["up"] == 0
    assert sum(dict(labels)["__name__"] == "a" for labels in third.labels) == 1, (
        "what is stale already is not marked again"
    )
