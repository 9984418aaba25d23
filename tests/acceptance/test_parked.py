"""A part that rests after it failed too often is tried again, and says so."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.house import daemon, firing, patient, resolved, sink
from tests.acceptance.test_incident import hook
from tests.acceptance.test_restraint import ARMED

EAGER = """
[collectors.monitor]
every = "1s"
[rules.monitor_child_parked]
keep_firing_for = "0s"
"""
BREAKS = """
import functools
import os
import trader_monitor.loops.recover as room

works = room.recover

async def recover(env):
    if os.path.exists(BROKEN):
        raise RuntimeError("broken on purpose")
    await works(env)

room.recover = recover
import trader_monitor.daemon as house
from trader_monitor.core.backoff import Backoff

house.Child = functools.partial(house.Child, limit=1, park_for=1.5, backoff=Backoff(first=0.1, longest=0.1))
"""


async def test_a_parked_part_is_tried_again_after_its_rest_and_works_once_it_can(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    (tmp_path / "sitecustomize.py").write_text(BREAKS.replace("BROKEN", repr(str(broken))))
    async with sink() as slack, patient() as gateway:
        config = ARMED.replace("PATIENT", gateway.url) + EAGER + hook(slack.url)
        async with daemon(tmp_path, config, env={"PYTHONPATH": str(tmp_path)}) as house:
            await slack.want(firing("monitor_child_parked", child="recover", severity="critical"))
            tried = await house.said("child un-parked: it is tried again")
            assert tried["context"]["child"] == "recover"
            deaths = [r["context"]["decision"] for r in house.records() if r["message"].startswith("child died")]
            assert deaths[:2] == ["restart", "park"]
            await house.said("child died", after=2)
            parked = next(c for c in (await house.get("/v1/status"))["children"] if c["name"] == "recover")
            assert (parked["state"], gateway.called) == ("parked", []), "on probation one death is enough"
            gateway.healed_by = "restart"
            broken.unlink()
            await house.said("child un-parked: it is tried again", after=1)
            await slack.want(resolved("monitor_child_parked", child="recover"))
            await slack.want(resolved("check_failing", check="gateway"))
            assert gateway.called == ["restart"], "it does its work again"
            child = next(c for c in (await house.get("/v1/status"))["children"] if c["name"] == "recover")
            assert (child["state"], child["parked_until"]) == ("running", None)
