"""The commands as processes: what they say, and the exit codes that scripts trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.stage import command, daemon
from trader_monitor.cli import COMMANDS, main

CLOSED = "http://127.0.0.1:1"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_teaches_with_an_example_and_its_exit_codes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    help = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"trader-monitor {name}" in help.partition("examples:")[2]
    assert "exit codes:" in help
    assert "--json" in help


async def test_help_lists_every_command() -> None:
    told = await command("--help")
    assert told.code == 0
    assert all(f"  {name} " in told.out for name in COMMANDS)


USAGE = [
    ("no command at all", [], "commands:"),
    ("a command that does not exist", ["stauts"], 'did you mean "status"?'),
    ("an option that does not exist", ["status", "--nope"], "unrecognized arguments: --nope"),
    ("an address that is none", ["status", "--url", "foo:bar:x"], "is not an address"),
    ("a token file that is not there", ["status", "--token-file", "/no/such"], "cannot read /no/such"),
    ("a configuration that is not there", ["status", "--config", "/no/such"], "cannot read /no/such"),
    ("a time that is none", ["query", "up", "--at", "yesterday"], "is not a time"),
    ("a moment and a span at once", ["query", "up", "--at", "now", "--from", "-1h"], "give one or the other"),
    ("a span without a beginning", ["query", "up", "--to", "now"], "--from TIME"),
    ("a span that ends before it begins", ["query", "up", "--from", "-1h", "--to", "-2h"], "ends before"),
    ("a step of nought", ["query", "up", "--from", "-1h", "--step", "0s"], "more than nought"),
    ("a speed that is none", ["play", "/dev/null", "--speed", "fast"], "--speed fast"),
    ("a speed of nought", ["play", "/dev/null", "--speed", "0"], "--speed 0"),
    ("a recording that is not there", ["play", "/no/such"], "cannot read /no/such: No such file"),
    ("a recording without a line", ["play", "/dev/null"], "is empty"),
    ("a demonstration of no length", ["demo", "--for", "long"], "--for long"),
]


@pytest.mark.parametrize(("words", "said"), [case[1:] for case in USAGE], ids=[case[0] for case in USAGE])
async def test_wrong_usage_is_one_clear_line_and_code_2(words: list[str], said: str) -> None:
    told = await command(*words)
    assert told.code == 2
    assert told.out == ""
    assert said in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    "words",
    [["status"], ["query", "up"], ["alerts"], ["test-alert", "desk"], ["play", "{recording}"]],
    ids=lambda w: w[0],
)
async def test_a_daemon_that_does_not_run_is_one_line_that_says_what_to_do(words: list[str], tmp_path: Path) -> None:
    recording = tmp_path / "r.jsonl"
    recording.write_text('{"type":"heartbeat","at":1,"source":"a"}\n')
    told = await command(*(word.format(recording=recording) for word in words), "--url", CLOSED)
    assert told.code == 3
    assert told.err.count("\n") == 1
    assert f"no daemon answers at {CLOSED}" in told.err
    assert "trader-monitor run" in told.err


async def test_failures_are_json_too() -> None:
    told = await command("status", "--json", "--url", CLOSED)
    assert (told.code, told.json["exit_code"]) == (3, 3)
    assert "no daemon answers" in told.json["error"]


async def test_the_address_and_the_token_come_from_the_configuration_where_nothing_else_is_said(tmp_path: Path) -> None:
    async with daemon() as house:
        house.token = "s3cret"
        address = house.url.removeprefix("http://")
        (tmp_path / "config.toml").write_text(f'[http]\nlisten = "{address}"\ntokens = [{{ env = "DESK" }}]\n')
        assert (await command("status", cwd=tmp_path, env={"DESK": "s3cret"})).code == 0
        told = await command("status", cwd=tmp_path)
        assert told.code == 4
        assert "pass --token-file" in told.err
        (tmp_path / "token").write_text("s3cret\n")
        assert (await command("status", "--token-file", "token", cwd=tmp_path)).code == 0
        elsewhere = {"TRADER_MONITOR_URL": house.url, "TRADER_MONITOR_TOKEN": "s3cret"}
        assert (await command("status", env=elsewhere)).code == 0


async def test_status_is_a_table_for_people_and_json_for_scripts() -> None:
    async with daemon() as house:
        house.answers["/v1/status"] = (200, STATUS)
        told = await command("status", "--url", house.url)
        assert told.code == 0
        for part in (
            "WARNING since ",
            "1 critical firing, 2 pending",
            "12.5/s, 1,000 events, 3 duplicates, 4 refused",
            "store.db, 2.0 MiB, 17 commits, p99 4 ms",
            "50,300 of 50,000, 12,345 refused",
            'orders       12,000  orders{order_id="8f3a", source="a\\u001b"}',
            "all others   345     x{long=",
            "orders         49,000\n",
            "the feed rests · and 1 more",
            "parts   1 of 2 run",
            "feed  parked",
            "gateway  http  fails   open ",
            "desk     webhook  open     4    –          in 9 s      refused",
            "\\u001b[2J",
        ):
            assert part in told.out
        assert "\x1b" not in told.out
        assert "evaluate" not in told.out  # it runs, and always has
        assert (await command("status", "--json", "--url", house.url)).json == STATUS
        assert (await command("status", "--exit-code", "--url", house.url)).code == 1
        house.answers["/v1/status"] = (200, {"state": "ok"})
        assert (await command("status", "--exit-code", "--url", house.url)).code == 0


STATUS = {
    "version": "0.1.0",
    "started_at": 1.7e9,
    "now": 1.7e9 + 4000,
    "uptime_seconds": 4000.0,
    "state": "warning",
    "since": 1.7e9,
    "headline": "the feed rests",
    "others": 1,
    "children": [
        {"name": "evaluate", "state": "running", "essential": True, "restarts": 0, "since": 1.7e9, "last_cause": None},
        {"name": "feed", "state": "parked", "essential": False, "restarts": 5, "since": 1.7e9, "last_cause": "\x1b[2J"},
    ],
    "checks": [
        {
            "name": "gateway",
            "type": "http",
            "ok": False,
            "breaker": "open",
            "failures": 3,
            "message": "503",
            "at": 1.7e9,
        }
    ],
    "channels": [
        {"name": "desk", "type": "webhook", "breaker": "open", "due": 4, "retry_at": 1.7e9 + 4009, "reason": "refused"}
    ],
    "alerts": {"firing": {"critical": 1, "info": 0}, "pending": 2},
    "ingest": {"events_total": 1000, "per_second": 12.5, "duplicates_total": 3, "refused_total": 4},
    "store": {"path": "store.db", "bytes": 2 << 20, "commits_total": 17, "commit_seconds_p99": 0.004, "degraded": None},
    "series": {
        "count": 50_300,
        "max": 50_000,
        "reserve": 5_000,
        "refused": 12_345,
        "by_metric": [
            {
                "metric": "orders",
                "refused": 12_000,
                "last": {"__name__": "orders", "order_id": "8f3a", "source": "a\x1b"},
            },
            {"metric": "", "refused": 345, "last": {"__name__": "x", "long": "y" * 1000}},
        ],
        "largest": [{"metric": "orders", "series": 49_000}],
    },
    "live": {"clients": 2, "address": "127.0.0.1:8009"},
}


async def test_query_asks_for_a_moment_or_a_span() -> None:
    async with daemon() as house:
        vector = {
            "resultType": "vector",
            "result": [{"metric": {"__name__": "up", "job": "a\nb"}, "value": [1.7e9, "1"]}],
        }
        house.answers["/api/v1/query"] = (200, {"status": "success", "data": vector})
        told = await command("query", "up", "--at", "2026-11-20T08:30:00Z", "--url", house.url)
        assert told.code == 0
        assert 'up{job="a\\nb"}  1 ' in told.out
        assert house.asked[-1] == ("/api/v1/query", {"query": "up", "time": "1795163400.0"})
        values = [[1.7e9, "1"], [1.7e9 + 60, "NaN"]]
        matrix = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
        house.answers["/api/v1/query_range"] = (200, {"status": "success", "data": matrix})
        told = await command("query", "up", "--from", "-6h", "--to", "-1h", "--step", "5m", "--url", house.url)
        assert told.code == 0
        assert told.out.startswith("{}\n")
        assert "  NaN" in told.out
        asked = house.asked[-1][1]
        assert float(asked["end"]) - float(asked["start"]) == pytest.approx(5 * 3600)
        assert asked["step"] == "300.0"
        empty = {"status": "success", "data": {"resultType": "vector", "result": []}}
        house.answers["/api/v1/query"] = (200, empty)
        told = await command("query", "up == 7", "--exit-code", "--json", "--url", house.url)
        assert (told.code, told.json) == (1, empty)


async def test_a_question_that_the_daemon_refuses_is_wrong_usage() -> None:
    async with daemon() as house:
        house.answers["/api/v1/query"] = (400, {"status": "error", "error": "unknown function summ"})
        told = await command("query", "summ(up)", "--url", house.url)
        assert (told.code, told.err) == (2, "trader-monitor: unknown function summ\n")


async def test_alerts_are_sorted_filtered_and_answer_scripts() -> None:
    def alert(rule: str, severity: str, state: str, at: float) -> dict[str, object]:
        return {
            "rule": rule,
            "severity": severity,
            "state": state,
            "fired_at": at,
            "active_at": at,
            "at": at,
            "value": 0.5,
        }

    async with daemon() as house:
        firing = alert("drawdown", "critical", "firing", 1.7e9)
        alerts = [alert("cpu", "warning", "firing", 1.6e9), firing, alert("old", "critical", "resolved", 1.5e9)]
        house.answers["/v1/alerts"] = (200, {"alerts": alerts, "history": alerts[::-1]})
        told = await command("alerts", "--url", house.url)
        assert told.code == 0
        assert [line.split()[4] for line in told.out.splitlines()[1:]] == ["drawdown", "cpu"]
        told = await command("alerts", "--severity", "critical", "--exit-code", "--json", "--url", house.url)
        assert (told.code, told.json) == (1, {"alerts": [firing]})
        told = await command("alerts", "--severity", "emergency", "--exit-code", "--url", house.url)
        assert (told.code, told.out) == (0, "no alert\n")
        told = await command("alerts", "--history", "1", "--url", house.url)
        assert "old" in told.out
        assert "drawdown" not in told.out


async def test_a_test_notice_that_was_not_taken_is_a_no() -> None:
    async with daemon() as house:
        house.answers["/v1/test-alert"] = (
            200,
            {"channel": "desk", "outcome": "delivered", "delivered": True, "receipt": "200"},
        )
        told = await command("test-alert", "desk", "--url", house.url)
        assert (told.code, told.out) == (0, "desk took it: 200\n")
        assert house.asked[-1] == ("/v1/test-alert", {"channel": "desk"})
        house.answers["/v1/test-alert"] = (200, {"outcome": "failed", "delivered": False, "error": "no route"})
        told = await command("test-alert", "desk", "--url", house.url)
        assert (told.code, told.out) == (1, "desk did not take it: no route\n")
        house.answers["/v1/test-alert"] = (404, {"error": "there is no channel 'desk'"})
        assert (await command("test-alert", "desk", "--url", house.url)).code == 2


async def test_a_daemon_that_cannot_at_the_moment_is_a_refusal() -> None:
    async with daemon() as house:
        house.answers["/v1/status"] = (503, {"error": "the store is degraded"})
        told = await command("status", "--url", house.url)
        assert told.code == 4
        assert "the store is degraded" in told.err


async def test_check_config_says_all_errors_and_never_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[http]\ntokens = ["hunter2"]\n[stoer]\n')
    told = await command("check-config", cwd=tmp_path)
    assert told.code == 2
    assert told.err.startswith("config.toml: 2 errors\n  line 2: http.tokens[0]: expected { env")
    assert 'line 3: stoer: unknown table; did you mean "store"?' in told.err
    told = await command("check-config", "--json", str(file))
    assert told.code == 2
    assert [(e["line"], e["path"], e["value"]) for e in told.json["errors"]] == [
        (2, "http.tokens[0]", None),
        (3, "stoer", None),
    ]
    assert "hunter2" not in told.out
    file.write_text("")
    told = await command("check-config", cwd=tmp_path)
    assert told.code == 0
    assert told.out.startswith("config.toml: valid\n")
    told = await command("run", "--config", "nope.toml", cwd=tmp_path)
    assert told.code == 2
    assert "nope.toml: 1 error" in told.err


async def test_version_is_said() -> None:
    told = await command("version", "--json")
    assert told.code == 0
    assert told.json["version"] == (await command("--version")).out.split()[1]
