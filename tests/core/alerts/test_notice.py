"""Which notices are due: sentences, and random lives told over a line that fails."""

from __future__ import annotations

import random
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from trader_monitor.core.alerts.fingerprint import fingerprint
from trader_monitor.core.alerts.notice import Notice, Route, next_notice, notices_due, owed, prune
from trader_monitor.core.facts import AlertChanged, Breaker, ChannelTried, NoticeSent, Now

ROUTE = Route("slack")
NOW = Now(1000.0, 1000.0)


def changed(state: str, transition: int, fired: int = 0, **options: object) -> AlertChanged:
    plain = AlertChanged(
        at=float(transition),
        fingerprint="f",
        rule="r",
        state=state,  # type: ignore[arg-type]
        transition=transition,
        severity="warning",
        labels={},
        summary="",
        active_at=0.0,
        mono=0.0,
        fired_transition=fired,
    )
    return replace(plain, **options)


def sent(state: str, transition: int, channel: str = "slack", **options: object) -> NoticeSent:
    plain = NoticeSent(
        at=1.0,
        channel=channel,
        fingerprint="f",
        transition=transition,
        state=state,  # type: ignore[arg-type]
        outcome="delivered",
    )
    return replace(plain, **options)


class Facts:
    """The part of the board that is compared."""

    def __init__(self, *changes: AlertChanged, remember: int = 1000) -> None:
        self.alerts: dict[str, AlertChanged] = {}
        self.alert_history: deque[AlertChanged] = deque(maxlen=remember)
        self.notices: dict[tuple[str, str], NoticeSent] = {}
        self.tries: dict[tuple[str, str], ChannelTried] = {}
        for change in changes:
            self.fold(change)

    def fold(self, fact: AlertChanged | NoticeSent) -> None:
        if isinstance(fact, AlertChanged):
            self.alerts[fact.fingerprint] = fact
            self.alert_history.append(fact)
        else:
            self.notices[fact.channel, fact.fingerprint] = fact


def told(facts: Facts, route: Route = ROUTE, now: Now = NOW) -> list[tuple[str, int]]:
    """Delivers everything that is due, and says what that was."""
    out: list[tuple[str, int]] = []
    while due := notices_due(facts, route, now):
        for notice in due:
            assert notice == next_notice(facts, route, notice.alert.fingerprint, now)
            out.append((notice.state, notice.transition))
            facts.fold(sent(notice.state, notice.transition, route.channel, fingerprint=notice.alert.fingerprint))
    return out


def test_a_firing_is_due_once_and_then_its_end() -> None:
    facts = Facts(changed("pending", 1))
    assert told(facts) == []
    facts.fold(changed("firing", 2, 2))
    assert told(facts) == [("firing", 2)]
    assert told(facts) == []
    facts.fold(changed("resolved", 3, 2))
    assert told(facts) == [("resolved", 3)]


def test_each_channel_is_told_by_itself() -> None:
    facts = Facts(changed("firing", 1, 1))
    facts.fold(sent("firing", 1))
    assert told(facts) == []
    assert told(facts, Route("mail")) == [("firing", 1)]


def test_a_channel_hears_of_its_severity_and_worse() -> None:
    facts = Facts(changed("firing", 1, 1, severity="error"))
    assert told(facts, Route("mail", "critical")) == []
    assert told(facts, Route("mail", "error")) == [("firing", 1)]


def test_who_was_told_of_a_firing_is_told_of_its_end_though_the_channel_became_stricter() -> None:
    facts = Facts(changed("firing", 1, 1), changed("resolved", 2, 1))
    facts.fold(sent("firing", 1))
    assert told(facts, Route("slack", "emergency")) == [("resolved", 2)]


def test_a_stricter_channel_hears_nothing_of_the_next_episode() -> None:
    facts = Facts(changed("firing", 1, 1), changed("resolved", 2, 1), changed("firing", 3, 3))
    facts.fold(sent("firing", 1))
    assert told(facts, Route("slack", "emergency")) == [("resolved", 2)]


def test_what_fired_and_ended_while_the_channel_was_dead_is_told_late_and_in_order() -> None:
    facts = Facts(changed("firing", 1, 1), changed("resolved", 2, 1))
    (notice,) = notices_due(facts, ROUTE, NOW)
    assert (notice.state, notice.late, notice.alert.state) == ("firing", True, "firing")
    assert told(facts) == [("firing", 1), ("resolved", 2)]


def test_every_transition_that_is_remembered_is_told() -> None:
    facts = Facts(
        changed("firing", 1, 1),
        changed("resolved", 2, 1),
        changed("pending", 3, 1),
        changed("firing", 4, 4),
        changed("resolved", 5, 4),
        changed("pending", 6, 4),
    )
    assert told(facts) == [("firing", 1), ("resolved", 2), ("firing", 4), ("resolved", 5)]


def test_what_history_has_let_go_is_superseded_by_the_newest_episode() -> None:
    changes = [changed("firing", 1, 1), changed("resolved", 2, 1), changed("firing", 3, 3), changed("resolved", 4, 3)]
    facts = Facts(*changes, remember=0)
    assert told(facts) == [("firing", 3), ("resolved", 4)]


def test_a_told_firing_is_ended_even_if_its_end_is_forgotten() -> None:
    facts = Facts(changed("firing", 1, 1), remember=0)
    assert told(facts) == [("firing", 1)]
    for change in (changed("resolved", 2, 1), changed("pending", 3, 1)):
        facts.fold(change)
    assert told(facts) == [("resolved", 2)]
    facts.fold(changed("firing", 4, 4))
    assert told(facts) == [("firing", 4)]


def test_an_earlier_episode_that_nobody_heard_of_is_told_though_a_new_one_is_pending() -> None:
    facts = Facts(changed("firing", 1, 1), changed("resolved", 2, 1), changed("pending", 3, 1), remember=0)
    assert told(facts) == [("firing", 1), ("resolved", 2)]


def test_a_pending_alert_that_never_fired_is_nobodys_business() -> None:
    assert told(Facts(changed("pending", 1), changed("resolved", 2))) == []


def test_a_notice_of_an_earlier_life_says_nothing_about_this_one() -> None:
    facts = Facts(changed("firing", 1, 1))
    facts.fold(sent("resolved", 9))
    assert told(facts) == [("firing", 1)]


def test_a_refusal_is_an_answer_and_the_end_is_told_all_the_same() -> None:
    facts = Facts(changed("firing", 1, 1))
    facts.fold(sent("firing", 1, outcome="refused"))
    assert told(facts) == []
    facts.fold(changed("resolved", 2, 1))
    assert told(facts) == [("resolved", 2)]


def test_a_longer_wait_for_the_end_is_no_new_notice() -> None:
    facts = Facts(changed("firing", 1, 1))
    told(facts)
    facts.fold(changed("firing", 1, 1, cleared_mono=5.0))
    assert told(facts) == []


def test_the_worst_comes_first_and_then_the_oldest() -> None:
    facts = Facts(
        changed("firing", 1, 1, fingerprint="new", at=9.0),
        changed("firing", 1, 1, fingerprint="old", at=1.0),
        changed("firing", 1, 1, fingerprint="bad", at=10.0, severity="emergency"),
    )
    assert [notice.alert.fingerprint for notice in notices_due(facts, ROUTE, NOW)] == ["bad", "old", "new"]


def test_what_is_under_way_is_left_out() -> None:
    assert notices_due(Facts(changed("firing", 1, 1)), ROUTE, NOW, {"f"}) == []


def test_a_reminder_is_due_after_repeat_while_the_alert_fires() -> None:
    route = Route("slack", repeat=60.0)
    facts = Facts(changed("firing", 1, 1))
    facts.fold(sent("firing", 1))
    assert notices_due(facts, route, Now(60.9, 0.0)) == []
    (again,) = notices_due(facts, route, Now(61.0, 0.0))
    assert again.repeats is not None
    first = Notice(channel="slack", alert=facts.alerts["f"], transition=1, state="firing")
    assert again.key != first.key, "a receiver that drops repetitions has to take a reminder"
    facts.fold(changed("resolved", 2, 1))
    assert told(facts, route, Now(1e6, 0.0)) == [("resolved", 2)]


def test_keys_name_one_transition_of_one_alert() -> None:
    alerts = [changed("firing", 1, 1), changed("firing", 1, 1, fingerprint="g")]
    notices = [Notice(channel="slack", alert=a, transition=1, state="firing") for a in alerts]
    notices.append(Notice(channel="slack", alert=alerts[0], transition=2, state="resolved"))
    assert len({notice.key for notice in notices}) == 3
    assert notices[0].key == Notice(channel="slack", alert=alerts[0], transition=1, state="firing", late=True).key


def test_resolved_alerts_leave_after_a_quarter_of_an_hour_when_every_channel_was_told() -> None:
    facts = Facts(changed("firing", 1, 1), changed("resolved", 2, 1, cleared_mono=100.0))
    facts.fold(sent("resolved", 2))
    mail = Route("mail")
    assert prune(facts, [ROUTE], Now(0.0, 999.9)) == []
    assert prune(facts, [ROUTE, mail], Now(0.0, 1000.0)) == [], "mail was not told yet"
    facts.fold(sent("resolved", 2, "mail"))
    failed = ChannelTried(at=1.0, channel="mail", outcome="failed", breaker=Breaker(), mono=1.0)
    facts.tries = {("mail", "f"): failed, ("mail", "g"): failed}
    assert prune(facts, [ROUTE, mail], Now(0.0, 1000.0)) == ["f"]
    assert (facts.alerts, facts.notices) == ({}, {})
    assert list(facts.tries) == [("mail", "g")], "of another alert"


def test_a_firing_alert_never_leaves() -> None:
    facts = Facts(changed("firing", 1, 1))
    told(facts)
    assert prune(facts, [ROUTE], Now(0.0, 1e9)) == []


def test_the_next_notice_of_an_alert_that_is_gone_or_owes_nothing() -> None:
    facts = Facts()
    assert next_notice(facts, ROUTE, "f", NOW) is None
    facts.fold(changed("pending", 1))
    assert next_notice(facts, ROUTE, "f", NOW) is None
    facts.fold(changed("firing", 2, 2))
    assert next_notice(facts, Route("mail", "emergency"), "f", NOW) is None
    assert told(facts) == [("firing", 2)]
    assert next_notice(facts, ROUTE, "f", NOW) is None
    assert next_notice(facts, Route("slack", repeat=60.0), "f", NOW) is not None


def test_owed_without_anything_to_tell_is_empty() -> None:
    assert owed(ROUTE, changed("pending", 1), None) == []


STEPS = st.lists(st.sampled_from(["on", "off", "send", "send", "lose"]), max_size=60)


@settings(max_examples=300)
@given(STEPS, st.sampled_from([0, 2, 1000]), st.booleans())
def test_over_a_line_that_fails_each_delivered_firing_is_followed_by_its_end(
    steps: list[str], remember: int, waits: bool
) -> None:
    """`on` and `off` move the alert, `send` delivers one due notice, `lose` is an attempt that failed."""
    facts = Facts(remember=remember)
    heard: list[tuple[str, int]] = []
    state, number, fired = "resolved", 0, 0

    def deliver() -> None:
        for notice in notices_due(facts, ROUTE, NOW)[:1]:
            heard.append((notice.state, notice.transition))
            facts.fold(sent(notice.state, notice.transition))

    for step in [*steps, "off", *["send"] * 200]:
        if step == "on" and state != "firing":
            number += 1
            state = "pending" if waits and state == "resolved" else "firing"
            fired = number if state == "firing" else fired
            facts.fold(changed(state, number, fired))
        elif step == "off" and state != "resolved":
            number, state = number + 1, "resolved"
            facts.fold(changed(state, number, fired))
        elif step == "send":
            deliver()
    assert [n for _, n in heard] == sorted({n for _, n in heard}), "in order, and none twice"
    kinds = [kind for kind, _ in heard]
    assert kinds == ["firing", "resolved"] * (len(kinds) // 2), "firing and resolved in turn, ending resolved"
    if fired:
        assert heard[-2:] == [("firing", fired), ("resolved", fired + 1)], "the newest episode was told"
    if remember == 1000:
        firings = [c.transition for c in facts.alert_history if c.state == "firing"]
        assert [n for kind, n in heard if kind == "firing"] == firings, "and so was every other"


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=6), st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order(labels: dict[str, str], chance: random.Random) -> None:
    shuffled = list(labels.items())
    chance.shuffle(shuffled)
    assert fingerprint(dict(shuffled)) == fingerprint(labels)


def test_fingerprints_keep_names_and_values_apart() -> None:
    assert len({fingerprint(x) for x in ({"a": "b"}, {"ab": ""}, {"": "ab"}, {"a": "b", "c": ""}, {})}) == 5
    assert fingerprint({"a": "b"}) == fingerprint({"a": "b"})
    assert len(fingerprint({"\ud800": "\udfff"})) == 16
