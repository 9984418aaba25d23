"""Reports on models, for people: drift of what they are given and say, and how they perform beside their baseline.

`drift` is the newest run of drift, with the stability index of the runs before it; `performance` the newest
evaluation of predictions whose outcomes are known. Without --model it is one report of each model; without --version
it is the version that predicted last. The HTML is one file that needs nothing else and is readable on a phone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from trader_monitor.cli.door import door_arguments
from trader_monitor.cli.model_desk import Desk, Version, desk_of
from trader_monitor.cli.outcome import Exit, Failure
from trader_monitor.cli.text import clean
from trader_monitor.config.errors import among
from trader_monitor.reports.sheet import Sheet

EXAMPLES = """
  trader-monitor report drift
  trader-monitor report drift --model momentum --version 3 --format html --out drift.html
  trader-monitor report performance --model momentum
  trader-monitor report performance --format json | jq '.reports[].verdict'
"""

KINDS = ("drift", "performance")
FORMATS = ("text", "html", "json")
RUNS = 60
"""Runs of drift over which the stability index is shown."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "trader-monitor report {drift | performance} [--model M] [--format text|html|json] [options]"
    parser.add_argument("what", metavar="REPORT", choices=KINDS, help="drift or performance")
    parser.add_argument("--model", metavar="M", help="of this model only")
    parser.add_argument("--version", metavar="V", help="its version (default: the one that predicted last)")
    parser.add_argument("--format", choices=FORMATS, default=None, help="text (the default), html or json")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there, in place of what is there")
    door_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.version and not args.model:
        raise Failure("--version is of a model: name it with --model", Exit.USAGE)
    format = args.format or ("json" if args.json else "text")
    desk: Desk = desk_of(args)
    try:
        chosen = _chosen(desk.versions(), args.model, args.version)
        found = list(_found(desk, args.what, chosen))
        where = desk.where
    finally:
        desk.close()
    if not found:
        raise Failure(_why_none(args.what, chosen, where), Exit.NO)
    _written(_rendered(found, args.what, format), args.out)
    return Exit.OK


def _chosen(versions: list[Version], model: str | None, version: str | None) -> list[Version]:
    """The version of each model that is meant, by the models' names."""
    if not versions:
        raise Failure("no model has predictions or a baseline here", Exit.NO)
    models = sorted({each.model for each in versions})
    if model is not None and model not in models:
        raise Failure(f"there is no model {clean(model)!r}; {among(model, models, 'models')}", Exit.USAGE)
    chosen = []
    for name in models if model is None else [model]:
        mine = [each for each in versions if each.model == name]
        if version is not None:
            known = [each.version for each in mine]
            mine = [each for each in mine if each.version == version]
            if not mine:
                told = among(version, known, "versions")
                raise Failure(f"{clean(name)} has no version {clean(version)!r}; {told}", Exit.USAGE)
        chosen.append(max(mine, key=lambda each: (each.last_at or 0.0, each.baseline_at or 0.0, each.version)))
    return chosen


def _found(desk: Desk, what: str, chosen: Iterable[Version]) -> Iterable[tuple[Sheet, dict[str, Any]]]:
    """The report of each version that has one, for people and for programs."""
    from trader_monitor.reports.drift import drift_report, drift_sheet
    from trader_monitor.reports.performance import performance_report, performance_sheet

    for each in chosen:
        if what == "drift":
            runs = desk.drifts(each.model, each.version, RUNS)
            if runs:
                yield drift_sheet(runs), drift_report(runs)
        else:
            results = desk.performances(each.model, each.version, 1)
            if results:
                yield performance_sheet(results[-1]), performance_report(results[-1])


def _why_none(what: str, chosen: list[Version], where: str) -> str:
    names = ", ".join(f"{clean(each.model)} {clean(each.version)}" for each in chosen[:5])
    if what == "performance":
        return f"no performance of {names} is known yet at {where}: it takes outcomes of predictions that are due"
    if not any(each.baseline_at is not None for each in chosen):
        model, version = chosen[0].model, chosen[0].version
        hint = f"trader-monitor baseline set {clean(model)} --version {clean(version)} --last 30d"
        return f"{names} has no baseline, so there is no drift to report: set one with `{hint}`"
    return f"there has been no run of drift of {names} yet at {where}: one is made when enough predictions have come"


def _rendered(found: list[tuple[Sheet, dict[str, Any]]], what: str, format: str) -> str:
    from trader_monitor.reports.html import as_html
    from trader_monitor.reports.text import as_text

    sheets = [sheet for sheet, _ in found]
    match format:
        case "html":
            return as_html(sheets)
        case "json":
            return json.dumps({"reports": [report for _, report in found]}, ensure_ascii=False) + "\n"
        case _:
            return as_text(sheets)


def _written(text: str, out: Path | None) -> None:
    """To the file, whole or not at all; without one to standard output."""
    if out is None:
        sys.stdout.write(text)
        return
    try:
        descriptor, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(name, 0o644)
            os.replace(name, out)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise Failure(f"cannot write {out}: {error.strerror or error}", Exit.USAGE) from None
    print(f"written to {clean(out)}")
