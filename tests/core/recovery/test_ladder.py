"""The ladder: what is due, sentence by sentence, and what must never be."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trader_monitor.core import breaker as breakers
from trader_monitor.core.budget import Budget
from trader_monitor.core.facts import ActionStep, Breaker, CheckResult, Now
from trader_monitor.core.recovery.ladder import HOUR, Rung, due

NOW = Now(1_000_000.0, 5_000.0)
RUNGS = (Rung("restart", True, Budget(3, HOUR)), Rung("reboot", True, Budget(1, HOUR)))


def failing(*, opened_at: float = 4_999.0, age: float = 0.0, seconds: float = 0.5, **fields: Any) -> CheckResult:
    breaker = Breaker(state="open", failures=3, since=opened_at, retry_at=opened_at + 30, opened=1, generation=1)
    given = {"ok": False, "breaker": breaker, "message": "status 503, wanted 200", **fields}
    return CheckResult(at=NOW.wall - age, check="bot", seconds=seconds, **given)


WELL = CheckResult(at=NOW.wall, check="bot", ok=True, breaker=Breaker(since=4_999.0), seconds=0.1, message="status 200")


def step(phase: Any, rung: int = 0, mono: float = 4_000.0) -> ActionStep:
    return ActionStep(
        at=NOW.wall - (NOW.mono - mono),
        incident="bot-1",
        check="bot",
        action=RUNGS[rung].action,
        rung=rung,
        phase=phase,
        who="recovery",
        why="it failed",
        mono=mono,
    )


def judge(result: CheckResult | None, *steps: ActionStep, **how: Any) -> ActionStep | None:
    given = {"spent": {}, "running": False, "busy": (), "fresh_for": 20.0, "now": NOW, "rungs": RUNGS, **how}
    rungs = given.pop("rungs")
    return due(result, steps, rungs, **given)


CASES: list[tuple[str, Any, tuple[ActionStep, ...], dict[str, Any], Any]] = [
    ("a check never asked is no reason to act", None, (), {}, None),
    ("a check that is well needs nothing", WELL, (), {}, None),
    ("an open breaker with fresh proof begins with the first rung", failing(), (), {}, ("started", 0)),
    ("a check without a ladder is left alone", failing(), (), {"rungs": ()}, None),
    ("a closed breaker that has begun to fail is not enough", failing(breaker=Breaker(failures=2)), (), {}, None),
    ("a half-open breaker waits for its trial", failing(breaker=Breaker(state="half_open", failures=3)), (), {}, None),
    ("a question that could not be asked is no proof", failing(ok=None), (), {}, None),
    ("an old failure is no proof", failing(age=21.0), (), {}, None),
    ("a failure of the recent past is", failing(age=19.0), (), {}, ("started", 0)),
    ("a failure from the future is no proof: the clock was set back", failing(age=-3600.0), (), {}, None),
    (
        "an action that is not armed is written down, not done",
        failing(),
        (),
        {"rungs": (RUNGS[0].__class__("restart", False, Budget(3, HOUR)),)},
        ("dry_run", 0),
    ),
    ("an action in hand for another check is not begun twice", failing(), (), {"busy": {"restart"}}, None),
    ("a spent budget is written down once", failing(), (), {"spent": {"restart": (4_900.0,) * 3}}, ("over_budget", 0)),
    ("and then waited for", failing(), (step("over_budget"),), {"spent": {"restart": (4_900.0,) * 3}}, None),
    (
        "until the hour has room again",
        failing(),
        (step("over_budget"),),
        {"spent": {"restart": (1_300.0, 4_900.0, 4_901.0)}},
        ("started", 0),
    ),
    ("what is being run is left to run", failing(), (step("started"),), {"running": True, "busy": {"restart"}}, None),
    ("even when the check is well meanwhile", WELL, (step("started"),), {"running": True, "busy": {"restart"}}, None),
    (
        "a start without an outcome, and nobody running it, is taken as failed",
        failing(),
        (step("started"),),
        {},
        ("failed", 0),
    ),
    ("also before any probe was made", None, (step("started"),), {}, ("failed", 0)),
    ("after an action a probe must begin first", failing(opened_at=3_999.0), (step("succeeded"),), {}, None),
    (
        "a probe that began before the action ended does not count",
        failing(opened_at=4_000.2, seconds=0.5),
        (step("succeeded"),),
        {},
        None,
    ),
    ("a later probe that fails says that it did not help", failing(), (step("succeeded"),), {}, ("not_verified", 0)),
    ("a failed action is verified as well", failing(), (step("failed"),), {}, ("not_verified", 0)),
    ("then comes the next rung", failing(), (step("succeeded"), step("not_verified")), {}, ("started", 1)),
    ("a rehearsed rung gives way to the next at the next failure", failing(), (step("dry_run"),), {}, ("started", 1)),
    ("not at the same one", failing(opened_at=3_999.0), (step("dry_run"),), {}, None),
    (
        "the last rung that did not help exhausts the ladder",
        failing(),
        (step("started", 1), step("succeeded", 1), step("not_verified", 1)),
        {},
        ("exhausted", 1),
    ),
    ("an exhausted ladder stays so", failing(), (step("started", 1), step("exhausted", 1)), {}, None),
    (
        "a ladder that was only rehearsed is not called exhausted",
        failing(),
        (step("dry_run"), step("dry_run", 1)),
        {},
        None,
    ),
    ("a check that is well again ends the incident", WELL, (step("succeeded"),), {}, ("verified", 0)),
    ("after an exhausted ladder too", WELL, (step("exhausted", 1),), {}, ("verified", 1)),
    ("and a rehearsed one", WELL, (step("dry_run"),), {}, ("verified", 0)),
    ("an ended incident needs nothing more", WELL, (step("succeeded"), step("verified")), {}, None),
    ("a new outage is a new incident, from the first rung", failing(), (step("verified", 1),), {}, ("started", 0)),
]


@pytest.mark.parametrize(
    ("result", "steps", "how", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_is_due(result: Any, steps: tuple[ActionStep, ...], how: dict[str, Any], wanted: Any) -> None:
    it = judge(result, *steps, **how)
    assert (it and (it.phase, it.rung)) == wanted
    if it is not None and steps and steps[-1].phase != "verified":
        assert it.incident == steps[-1].incident
    if it is not None:
        assert (it.check, it.who, it.at, it.mono) == ("bot", "recovery", NOW.wall, NOW.mono)
        assert it.why


def test_a_step_says_why_it_is_taken() -> None:
    it = judge(failing())
    assert it is not None
    assert it.why == "the check failed 3 times in a row: status 503, wanted 200"


def test_incidents_have_names_of_their_own() -> None:
    first = judge(failing())
    later = judge(failing(), step("verified"), now=Now(NOW.wall + 1, NOW.mono + 1))
    assert first is not None
    assert later is not None
    assert first.incident != later.incident


class Recovery(RuleBasedStateMachine):
    """Two checks that share an action, a clock that jumps, probes that say anything, a process that dies."""

    RUNGS = (Rung("restart", True, Budget(2, HOUR)), Rung("rehearsed", False, Budget(9, HOUR)), RUNGS[1])
    POLICY = breakers.Policy(trip_after=2, cooldown=30.0)

    def __init__(self) -> None:
        super().__init__()
        self.now = Now(1_000_000.0, 10.0)
        self.results: dict[str, CheckResult] = {}
        self.incidents: dict[str, tuple[ActionStep, ...]] = defaultdict(tuple)
        self.all: list[ActionStep] = []
        self.running: dict[str, str] = {}
        self.really: dict[str, str] = {}
        """What the world is doing, dead process or not."""

    @initialize(mono=st.floats(0, 1e6))
    def begin(self, mono: float) -> None:
        self.now = Now(1_000_000.0, mono)

    @rule(seconds=st.sampled_from([0.5, 5.0, 31.0, 700.0, 3700.0]), step=st.sampled_from([0.0, 0.0, -500.0, 500.0]))
    def time_passes(self, seconds: float, step: float) -> None:
        self.now = Now(self.now.wall + seconds + step, self.now.mono + seconds)

    @rule(check=st.sampled_from("ab"), ok=st.sampled_from([True, False, False, None]), seconds=st.floats(0, 4))
    def a_probe_answers(self, check: str, ok: bool | None, seconds: float) -> None:
        before = self.results[check].breaker if check in self.results else Breaker()
        if not breakers.permits(before, self.now):
            return
        trial = breakers.attempt(before, self.now, self.POLICY)
        self.time_passes(seconds, 0.0)
        after = trial
        if ok is not None:
            after = (breakers.succeed if ok else breakers.fail)(trial, self.now, self.POLICY)
        self.results[check] = CheckResult(
            at=self.now.wall, check=check, ok=ok, breaker=after, seconds=seconds, message="so"
        )

    @rule(check=st.sampled_from("ab"))
    def the_loop_looks(self, check: str) -> None:
        for _ in range(20):
            it = self.due(check)
            if it is None:
                return
            self.judge(it)
            self.record(it)
            if it.phase == "started":
                self.running[check] = self.really[check] = it.action
                return
        raise AssertionError("the ladder never comes to rest")

    @precondition(lambda self: self.running)
    @rule(ok=st.booleans(), seconds=st.floats(0, 40))
    def an_action_ends(self, ok: bool, seconds: float) -> None:
        self.time_passes(seconds, 0.0)
        check = next(iter(self.running))
        started = self.incidents[check][-1]
        assert started.phase == "started"
        del self.running[check], self.really[check]
        self.record(
            ActionStep(
                **{
                    **fields(started),
                    "at": self.now.wall,
                    "mono": self.now.mono,
                    "phase": "succeeded" if ok else "failed",
                }
            )
        )

    @rule()
    def the_process_dies(self) -> None:
        self.running.clear()
        self.really.clear()

    def due(self, check: str) -> ActionStep | None:
        spent: defaultdict[str, tuple[float, ...]] = defaultdict(tuple)
        for one in self.all:
            if one.phase == "started":
                spent[one.action] += (one.mono,)
        return due(
            self.results.get(check),
            self.incidents[check],
            self.RUNGS,
            spent=spent,
            running=check in self.running,
            busy=set(self.running.values()),
            fresh_for=20.0,
            now=self.now,
        )

    def judge(self, it: ActionStep) -> None:
        """What must hold of every step, whatever happened before."""
        result = self.results.get(it.check)
        steps = self.incidents[it.check]
        if it.phase == "started":
            assert result is not None
            assert result.ok is False, "never without proof"
            assert result.breaker.state == "open"
            assert self.now.wall - result.at <= 20.0, "never on old proof"
            assert it.action not in self.really.values(), "never the same action twice at once"
            assert it.check not in self.really, "never two actions at once for a check"
            assert it.action != "rehearsed", "never what is not armed"
            ends = [one.mono for one in steps if one.incident == it.incident and one.phase in {"succeeded", "failed"}]
            assert all(result.breaker.since - result.seconds > end for end in ends), "never before a probe verified"
            done = [one for one in steps if one.incident == it.incident and one.phase == "started"]
            assert all(one.rung < it.rung for one in done), "never the same rung twice in an incident"
        if it.phase == "verified":
            assert result is not None
            assert result.ok

    def record(self, it: ActionStep) -> None:
        self.all.append(it)
        before = self.incidents[it.check]
        same = before and before[0].incident == it.incident
        self.incidents[it.check] = (*before, it) if same else (it,)

    @invariant()
    def the_budget_is_kept(self) -> None:
        for rung in self.RUNGS:
            starts = [one.mono for one in self.all if one.phase == "started" and one.action == rung.action]
            recent = [mono for mono in starts if mono > self.now.mono - HOUR]
            assert len(recent) <= rung.budget.limit


def fields(it: ActionStep) -> dict[str, Any]:
    return {name: getattr(it, name) for name in it.__struct_fields__}


TestRecovery = Recovery.TestCase


@given(
    st.lists(
        st.sampled_from(["started", "succeeded", "failed", "dry_run", "over_budget", "not_verified", "exhausted"]),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_any_history_comes_to_rest_within_a_few_steps_of_one_proof(phases: list[str], well: bool) -> None:
    """One proof never begins two actions, whatever stands in the journal."""
    steps = tuple(step(phase) for phase in phases)
    begun = 0
    for _ in range(10):
        it = judge(WELL if well else failing(), *steps, running=begun > 0 and steps[-1].phase == "started")
        if it is None:
            break
        begun += it.phase == "started"
        steps = (*steps, it) if it.incident == steps[-1].incident else (it,)
    else:
        raise AssertionError(f"no rest: {[one.phase for one in steps]}")
    assert begun <= 1
