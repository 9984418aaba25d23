"""The log as a shipper and an investigator read it: one JSON object a line, and one trace through an incident."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from tests.acceptance.house import House, account, daemon, firing, resolved, sink
from tests.acceptance.test_incident import RULES, hook

LOG = "\n[channels.log]\n"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NASTY = {
    "a line and a colour": '\n\x1b[31m{"timestamp":"2020-01-01T00:00:00.000Z","level":"info","message":"all is well"}',
    "a carriage return and a bell": "\r\x07 overwritten",
    "C1 and a line separator": "\x9b31m\u2028 another line",
    "reading backwards": "\u202e drawkcab",
}


def lines(house: House) -> list[dict[str, Any]]:
    """Every line of the log, whatever it is; AssertionError where one is no record."""
    raw = house.log.read_bytes()
    assert raw.endswith(b"\n")
    found = []
    for line in raw.decode("utf-8").split("\n")[:-1]:
        assert line.isprintable(), f"something that steers a terminal or a parser: {line!r}"
        record = json.loads(line)
        assert list(record)[:4] == ["timestamp", "level", "logger", "message"], record
        assert set(record) <= {"timestamp", "level", "logger", "message", "trace_id", "context", "exception", "stack"}
        assert TIMESTAMP.fullmatch(record["timestamp"]), record
        assert record["level"] in ("debug", "info", "warning", "error", "critical")
        assert re.fullmatch(r"[0-9a-f]{32}", record.get("trace_id", "0" * 32)), record
        found.append(record)
    return found


def traces(house: House, message: str) -> list[str]:
    return [record["trace_id"] for record in lines(house) if record["message"] == message]


async def test_the_callers_trace_leads_from_his_request_to_the_notices_and_over_a_kill(tmp_path: Path) -> None:
    async with sink() as slack, daemon(tmp_path, RULES + LOG + hook(slack.url)) as house:
        await house.send(account(100_000.0))
        slack.status = 503
        house.headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        await house.send(account(80_000.0))
        house.headers = {}
        await house.said("alert firing")
        await house.said("a notice could not be delivered and stays due")
        slack.status = 200
        await slack.want(firing("drawdown"))
        await house.delivered("slack")
        await house.delivered("log")  # what is not written down when it is killed is told again
        await house.kill()
        await house.open()
        await house.send(account(100_000.0))
        await slack.want(resolved("drawdown"))
        await house.said("notice delivered", after=3)
        for message in ("alert firing", "a notice could not be delivered and stays due", "alert resolved"):
            assert set(traces(house, message)) == {TRACE}, message
        assert traces(house, "notice delivered") == [TRACE] * 4, "both channels, its begin and its end"
        spans = [headers["traceparent"].split("-") for headers in slack.headers]
        assert [(version, trace) for version, trace, _, _ in spans] == [("00", TRACE)] * 2
        assert len({span for _, _, span, _ in spans} | {"00f067aa0ba902b7"}) == 3, "each request is a step of its own"


async def test_each_episode_has_the_trace_of_its_own_beginning_to_its_end(tmp_path: Path) -> None:
    rule = '\n[rules.low]\nexpr = "account_equity < 100"\nfor = "300ms"\n'
    async with sink() as slack, daemon(tmp_path, rule + LOG + hook(slack.url)) as house:
        for n, trace in enumerate((TRACE, TRACE[::-1])):
            house.headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
            await house.send(account(50.0))
            house.headers = {}
            await house.said("alert firing", after=n)
            await house.send(account(200.0))
            await house.said("alert resolved", after=n)
        assert traces(house, "alert firing") == traces(house, "alert resolved") == [TRACE, TRACE[::-1]]


async def test_a_header_that_is_no_trace_is_replaced_by_one(tmp_path: Path) -> None:
    async with sink() as slack, daemon(tmp_path, RULES + LOG + hook(slack.url)) as house:
        for n, header in enumerate(("", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{TRACE.upper()}-1-01", "x" * 5000)):
            house.headers = {"traceparent": header}
            for equity in (100_000.0, 80_000.0, 100_000.0):
                await house.send(account(equity))
            await house.said("notice delivered", after=4 * n + 3)
        told = traces(house, "notice delivered")
        assert (len(told), len(set(told))) == (16, 4), "one to each episode, told twice to two"
        assert not {"0" * 32, TRACE} & set(told)
        assert {headers["traceparent"].split("-")[1] for headers in slack.headers} == set(told)


async def test_no_label_can_forge_a_line_or_steer_a_terminal(tmp_path: Path) -> None:
    rule = '\n[rules.low]\nexpr = "depth < 1"\nsummary = "{labels.where} is low"\n'
    async with sink() as slack, daemon(tmp_path, rule + LOG + hook(slack.url)) as house:
        events = [
            {
                "type": "sample",
                "at": time.time(),
                "name": "depth",
                "value": 0.0,
                "labels": {"where": text, "case": case},
            }
            for case, text in NASTY.items()
        ]
        status, answer = await house.send(*events)
        assert status == 202, answer
        for case, text in NASTY.items():
            await slack.want(firing("low", case=case, where=text))
        await house.said("alert firing", after=len(NASTY) - 1)
        told = [record["context"] for record in lines(house) if record["message"] == "alert firing"]
        assert {context["labels"]["case"] for context in told} == set(NASTY)
        assert not [record for record in lines(house) if record["message"] == "all is well"]
