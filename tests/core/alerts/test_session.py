"""Rules with `during`: judged while their market is open, ended when it closes, begun anew when it opens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.core.alerts.stage import MONO, WALL, Stage, states
from trader_monitor.core.alerts.judge import QUIET_TICK, RuleSet, compile_rules
from trader_monitor.core.alerts.rule import Rule, RuleErrors
from trader_monitor.core.board import Board
from trader_monitor.core.calendar.calendar import Calendar
from trader_monitor.core.calendar.closures import close, reopen
from trader_monitor.core.calendar.facts import CalendarChanged
from trader_monitor.core.calendar.schedule import Schedule
from trader_monitor.core.facts import AlertChanged
from trader_monitor.core.series import SeriesStore

H = 3600
NEW_YORK = ZoneInfo("America/New_York")
SCHEDULE = Schedule(
    name="NY",
    zone="America/New_York",
    hours=((9 * H + 1800, 16 * H),),
    closed=frozenset({date(2026, 11, 26)}),
    early_closes={date(2026, 11, 27): 13 * H},
    known_from=date(2026, 1, 1),
    known_until=date(2026, 12, 31),
)
CALENDARS = {"NY": Calendar(SCHEDULE, NEW_YORK)}


def judge(rules: Sequence[Rule]) -> RuleSet:
    """Without a tick by which a rule might be judged at the right moment by chance."""
    return RuleSet(compile_rules(rules, CALENDARS).rules, tick=1e9)


def rule(name: str = "r", expr: str = "a > 5", **more: object) -> Rule:
    return Rule(name=name, expr=expr, during="NY", **more)  # type: ignore[arg-type]


class Market(Stage):
    """A stage whose clock is that of New York."""

    def __init__(self, *rules: Rule, at: str) -> None:
        self.board = Board(SeriesStore())
        self.judge = judge(rules)
        self.step = 0.0
        self.history: list[AlertChanged] = []
        self.seconds = self.until(at)
        self.tick()

    def until(self, text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp() - WALL

    def to(self, text: str) -> list[AlertChanged]:
        """Lets time pass until then."""
        return self.wait(self.until(text) - self.seconds)

    def away(self, text: str) -> None:
        """Lets time pass while nobody judges."""
        self.seconds = self.until(text)

    def restart(self, *rules: Rule) -> list[AlertChanged]:
        self.board = Board.load(self.board.dump(), SeriesStore())
        return self.reload(*rules)

    def reload(self, *rules: Rule) -> list[AlertChanged]:
        self.judge = judge(rules)
        return self.tick()

    def command(self, what: object, day: date, why: str = "") -> list[AlertChanged]:
        closed = what(self.board.closures.of(CALENDARS["NY"]), day, self.now.wall)  # type: ignore[operator]
        self.board.fold(CalendarChanged(at=self.now.wall, calendar="NY", day=day, closed=closed, why=why), self.now)
        return self.tick()

    @property
    def clock(self) -> str:
        return f"{datetime.fromtimestamp(self.now.wall, NEW_YORK):%m-%d %H:%M:%S}"


def told(changes: list[AlertChanged]) -> list[tuple[str, str, str]]:
    return [(f"{datetime.fromtimestamp(c.at, NEW_YORK):%a %H:%M:%S}", c.state, c.reason) for c in changes]


def test_a_firing_alert_ends_at_the_close_and_begins_anew_at_the_opening_without_a_sample() -> None:
    market = Market(rule("r", "last_over_time(a[3d]) > 5"), at="2026-11-19 15:00")
    assert states(market.send({"a": 9})) == ["firing"]
    assert told(market.to("2026-11-20 12:00")) == [
        ("Thu 16:00:00", "resolved", "outside NY hours"),
        ("Fri 09:30:00", "firing", "the condition holds"),
    ]


def test_what_holds_outside_the_hours_says_nothing() -> None:
    market = Market(rule(), at="2026-11-19 08:00")
    assert market.send({"a": 9}) == []
    assert market.to("2026-11-19 09:00") == []
    assert market.judge.next_due(market.board, market.now) == MONO + market.until("2026-11-19 09:30")


def test_for_starts_anew_at_the_opening() -> None:
    market = Market(rule(expr="last_over_time(a[3d]) > 5", for_=600.0), at="2026-11-19 15:55")
    assert states(market.send({"a": 9})) == ["pending"]
    assert told(market.to("2026-11-20 12:00")) == [
        ("Thu 16:00:00", "resolved", "outside NY hours"),
        ("Fri 09:30:00", "pending", "the condition holds"),
        ("Fri 09:40:00", "firing", "the condition has held for 600s"),
    ]


def test_the_close_ends_it_whatever_clear_and_keep_firing_for_say_and_without_data() -> None:
    market = Market(rule(clear="a < 1", keep_firing_for=3600.0), at="2026-11-19 15:00")
    assert states(market.send({"a": 9})) == ["firing"]
    assert market.to("2026-11-19 15:59:59") == [], "five minutes of silence end nothing"
    assert told(market.to("2026-11-19 16:01")) == [("Thu 16:00:00", "resolved", "outside NY hours")]


def test_an_early_close_is_a_close() -> None:
    market = Market(rule(), at="2026-11-27 12:58")
    assert states(market.send({"a": 9})) == ["firing"]
    assert told(market.to("2026-11-27 16:00")) == [("Fri 13:00:00", "resolved", "outside NY hours")]


@pytest.mark.parametrize(
    ("friday", "monday"), [("2026-03-06", "2026-03-09"), ("2026-10-30", "2026-11-02")], ids=["to summer", "to winter"]
)
def test_over_a_change_of_the_clocks_the_opening_is_the_local_one(friday: str, monday: str) -> None:
    market = Market(rule(expr="last_over_time(a[4d]) > 5"), at=f"{friday} 15:00")
    assert states(market.send({"a": 9})) == ["firing"]
    assert told(market.to(f"{monday} 17:00")) == [
        ("Fri 16:00:00", "resolved", "outside NY hours"),
        ("Mon 09:30:00", "firing", "the condition holds"),
        ("Mon 16:00:00", "resolved", "outside NY hours"),
    ]


def test_a_sample_of_the_last_seconds_that_comes_late_is_told_and_ended_in_one_step() -> None:
    market = Market(rule(), at="2026-11-19 16:00:05")
    market.tick()
    changes = market.batch([(-8.0, {"a": 9}), (-2.0, {"a": 9})])
    assert [(change.state, change.reason) for change in changes] == [
        ("firing", "the condition holds"),
        ("resolved", "outside NY hours"),
    ]


def test_a_sample_from_before_the_opening_is_not_judged_when_it_comes_after() -> None:
    market = Market(rule(for_=30.0), at="2026-11-19 09:30:05")
    assert market.batch([(-20.0, {"a": 9}), (-1.0, {"a": 1})]) == []


def test_a_day_closed_by_command_ends_it_at_once_and_reopening_begins_it_anew() -> None:
    market = Market(rule(), at="2026-11-19 11:00")
    today = date(2026, 11, 19)
    market.send({"a": 9})
    assert told(market.command(close, today, "a fire alarm")) == [
        ("Thu 11:00:00", "resolved", "NY was closed by command: a fire alarm")
    ]
    assert market.to("2026-11-19 11:01") == []
    assert told(market.command(reopen, today)) == [("Thu 11:01:00", "firing", "the condition holds")]


def test_a_closure_that_nobody_has_looked_at_yet_is_due_now() -> None:
    market = Market(rule(), at="2026-11-19 11:00")
    spans = close(CALENDARS["NY"], date(2026, 11, 19), market.now.wall)
    market.board.fold(CalendarChanged(at=1.0, calendar="NY", day=date(2026, 11, 19), closed=spans), market.now)
    assert market.judge.next_due(market.board, market.now) == market.now.mono


def test_a_day_closed_before_it_begins_is_no_session() -> None:
    market = Market(rule(expr="last_over_time(a[3d]) > 5"), at="2026-11-18 20:00")
    market.send({"a": 9})
    market.command(close, date(2026, 11, 19), "typhoon")
    assert told(market.to("2026-11-20 10:00")) == [("Fri 09:30:00", "firing", "the condition holds")]


def test_a_restart_within_the_session_goes_on() -> None:
    market = Market(rule(for_=600.0, expr="last_over_time(a[3d]) > 5"), at="2026-11-19 10:00")
    market.send({"a": 9})
    market.away("2026-11-19 10:05")
    assert market.restart(rule(for_=600.0, expr="last_over_time(a[3d]) > 5")) == []
    market.send({"a": 9})
    assert states(market.to("2026-11-19 10:11")) == ["firing"]


def test_a_restart_after_the_close_ends_what_was_left() -> None:
    market = Market(rule(), at="2026-11-19 15:00")
    market.send({"a": 9})
    market.away("2026-11-19 18:00")
    assert told(market.restart(rule())) == [("Thu 18:00:00", "resolved", "outside NY hours")]


def test_a_restart_in_the_next_session_ends_what_was_left_and_begins_anew() -> None:
    """A pending alert of yesterday must not have held overnight."""
    judged = rule(for_=600.0, expr="last_over_time(a[3d]) > 5")
    market = Market(judged, at="2026-11-19 15:59")
    market.send({"a": 9})
    market.away("2026-11-20 10:00")
    assert told(market.restart(judged)) == [("Fri 10:00:00", "resolved", "NY has closed since")]
    market.send({"a": 9})
    assert states(market.to("2026-11-20 10:11")) == ["firing"]
    (pending, firing) = market.history[-2:]
    assert (pending.state, firing.at - pending.at) == ("pending", 600.0)


def test_an_alert_that_was_raised_without_a_calendar_ends_when_its_rule_gets_one() -> None:
    market = Market(Rule(name="r", expr="a > 5"), at="2026-11-19 20:00")
    assert states(market.send({"a": 9})) == ["firing"]
    assert states(market.reload(rule())) == ["resolved"]


def test_a_closure_is_kept_over_a_restart() -> None:
    market = Market(rule(), at="2026-11-19 08:00")
    market.command(close, date(2026, 11, 19))
    market.restart(rule())
    market.away("2026-11-19 12:00")
    assert market.send({"a": 9}) == []


def test_days_that_the_calendar_does_not_know_are_judged_and_counted_as_a_failure() -> None:
    market = Market(rule(expr="last_over_time(a[9d]) > 5"), at="2026-12-31 23:00")
    assert market.send({"a": 9}) == []
    changes = market.to("2027-01-02 12:00")
    assert told(changes) == [("Fri 00:00:00", "firing", "the condition holds")]
    failure = market.judge.failures["r", "calendar"]
    assert failure.message == "the calendar NY knows the days from 2026-01-01 to 2026-12-31, not 2027-01-01"
    assert market.judge.next_due(market.board, market.now) > market.now.mono


def test_what_was_raised_before_the_first_known_day_ends_on_it() -> None:
    market = Market(rule(expr="last_over_time(a[9d]) > 5"), at="2025-12-30 12:00")
    assert states(market.send({"a": 9})) == ["firing"]
    market.away("2026-01-02 12:00")
    assert told(market.tick()) == [("Fri 12:00:00", "resolved", "NY has closed since")]


def test_rules_of_other_calendars_and_of_none_are_left_alone() -> None:
    market = Market(rule("r"), Rule(name="always", expr="a > 5"), at="2026-11-19 15:00")
    market.send({"a": 9})
    assert [(c.rule, c.state) for c in market.to("2026-11-19 17:00")] == [("r", "resolved")]


def test_a_calendar_that_does_not_exist_is_a_problem_of_the_rule() -> None:
    with pytest.raises(RuleErrors, match="rule 'r', during: there is no calendar of that name"):
        compile_rules([rule()], {})


def test_a_rule_that_fails_does_not_keep_the_market_from_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    market = Market(rule("r"), rule("s"), at="2026-11-19 15:00")
    market.send({"a": 9})
    court = market.judge._courts[0]
    monkeypatch.setattr(court, "_in_session", lambda *_: 1 / 0)
    assert [(c.rule, c.state) for c in market.to("2026-11-19 16:00:01")] == [("s", "resolved")]
    monkeypatch.undo()
    assert [(c.rule, c.state) for c in market.wait(QUIET_TICK)] == [("r", "resolved")]
