"""Baselines of models: what their features and predictions looked like when they were fit for use.

`set` makes them of a file, or of the predictions of the last days, and puts them in the place of the version's earlier
ones; versions stand side by side. `list` shows which there are, `show` what they hold. `reset` lets go of the alarms
of the streaming detectors, which stand until then or until another baseline is set. While a daemon runs, it keeps all
this; where none runs, the store of the configuration is opened instead.

In a file each column is a feature, in the order of time; a column that is the model's own output, its probability or
its label is named by --output, --probability, --label, and that of time by --time. A column of texts is a category;
empty cells are null. JSON lines may be predictions as bots report them.
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trader_monitor.cli.door import door_arguments
from trader_monitor.cli.model_desk import Desk, Pieces, Version, desk_of
from trader_monitor.cli.outcome import Exit, Failure
from trader_monitor.cli.progress import Progress
from trader_monitor.cli.text import clean, clock, number, table
from trader_monitor.config.errors import among
from trader_monitor.config.values import Duration

if TYPE_CHECKING:
    from trader_monitor.cli.feature_file import Columns

EXAMPLES = """
  trader-monitor baseline set momentum --version 3 --from train.parquet --output prediction --time ts
  trader-monitor baseline set momentum --version 3 --last 30d
  trader-monitor baseline list
  trader-monitor baseline show momentum --version 3
  trader-monitor baseline show momentum --version 3 --feature rsi
  trader-monitor baseline reset momentum --version 3 --feature rsi
"""
COMMANDS = ("set", "show", "list", "reset")
GROUP = 10
"""Columns of one step: the progress bar moves as often."""
WATCHED_ROWS = 50_000
"""Rows, the newest, that the streaming detectors of a file's columns learn from."""
FEW = 100
WISHED = 1_000


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "trader-monitor baseline {set | show | list | reset} [MODEL] [--version V] [options]"
    parser.add_argument("what", metavar="COMMAND", choices=COMMANDS, help="set, show, list or reset")
    parser.add_argument("model", metavar="MODEL", nargs="?", help="the model, as its predictions name it")
    parser.add_argument("--version", metavar="V", help="its version")
    given = parser.add_argument_group("of set")
    given.add_argument("--from", dest="file", type=Path, metavar="FILE", help="a .csv, .parquet or .jsonl file")
    given.add_argument("--last", metavar="DURATION", help="the predictions of the last time, as 30d")
    given.add_argument("--columns", metavar="A,B,…", help="of the file these columns only")
    given.add_argument("--category", metavar="A,B,…", default="", help="columns whose numbers are names")
    for name in ("output", "probability", "label"):
        given.add_argument(f"--{name}", metavar="COLUMN", help=f"the column that is the model's {name}")
    given.add_argument("--time", metavar="COLUMN", help="the column of time: no feature")
    given.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--feature", metavar="F", help="of show and reset: one feature")
    door_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.what != "list" and not args.model:
        raise Failure(f"say which model: trader-monitor baseline {args.what} MODEL --version V", Exit.USAGE)
    desk: Desk
    if args.what == "set":
        _check(args)
    desk = desk_of(args)
    try:
        match args.what:
            case "set":
                return _set(args, desk)
            case "show":
                return _show(args, desk)
            case "reset":
                return _reset(args, desk)
            case _:
                return _list(args, desk)
    finally:
        desk.close()


# --- set ----------------------------------------------------------------------------------------------------------


def _check(args: argparse.Namespace) -> None:
    if not args.version:
        raise Failure("say which version: --version V, as its predictions name it", Exit.USAGE)
    if (args.file is None) == (args.last is None):
        raise Failure("say of what: --from FILE, or --last 30d", Exit.USAGE)
    if args.last is not None and any(
        (args.columns, args.category, args.output, args.probability, args.label, args.time)
    ):
        raise Failure("--columns, --category, --output, --probability, --label and --time are for --from", Exit.USAGE)


def _set(args: argparse.Namespace, desk: Desk) -> int:
    began = time.monotonic()
    token = uuid.uuid4().hex
    rows = _from_file(args, desk, token) if args.file is not None else _from_predictions(args, desk, token)
    count = desk.commit(args.model, args.version, token)
    notes = _notes(rows)
    if args.json:
        told = {"model": args.model, "version": args.version, "baselines": count, "rows": rows, "notes": notes}
        print(json.dumps(told | {"where": desk.where}, ensure_ascii=False))
    else:
        seconds = time.monotonic() - began
        what = f"{clean(args.model)} {clean(args.version)}"
        print(f"{what}: {count:,} baselines of {rows:,} rows are in force ({seconds:.1f} s; {clean(desk.where)})")
        for note in notes:
            print(f"note: {note}")
    return Exit.OK


def _notes(rows: int) -> list[str]:
    if rows < FEW:
        return [
            f"{rows:,} rows are too few for evidence: drift will say insufficient_evidence; give {WISHED:,} or more"
        ]
    if rows < WISHED:
        return [f"{rows:,} rows: evidence is weak, and the streaming detectors want {WISHED:,} or more"]
    return []


def _from_predictions(args: argparse.Namespace, desk: Desk, token: str) -> int:
    try:
        span = float(Duration.parse(args.last))
    except ValueError as error:
        raise Failure(f"--last: {error}", Exit.USAGE) from None
    until = time.time()
    since = max(until - span, 0.0)
    _found(desk.versions(), args.model, args.version, of="predictions")
    columns, rows = desk.columns(args.model, args.version, since, until)
    if not rows:
        raise Failure(
            f"{clean(args.model)} {clean(args.version)} has no predictions of the last {clean(args.last)}", Exit.USAGE
        )
    progress = Progress(len(columns), quiet=args.quiet)
    used = 0
    for begin in range(0, len(columns), GROUP):
        progress.show(begin, "columns")
        group = columns[begin : begin + GROUP]
        used = max(used, int(desk.compute(args.model, args.version, token, group, since, until)["rows"]))
    progress.show(len(columns), "columns")
    progress.close()
    if used < rows and not args.json and not args.quiet:
        print(f"note: the newest {used:,} of {rows:,} rows are used")
    return used


def _from_file(args: argparse.Namespace, desk: Desk, token: str) -> int:
    from trader_monitor.cli.feature_file import Chosen, read_columns
    from trader_monitor.core.models.names import LABEL, OUTPUT, PROBABILITY

    renamed = {args.output: OUTPUT, args.probability: PROBABILITY, args.label: LABEL}
    renamed.pop(None, None)
    chosen = Chosen(
        columns=tuple(_listed(args.columns)) if args.columns else None,
        categories=frozenset(_listed(args.category)),
        renamed=renamed,
        time=args.time,
    )
    progress = Progress(1, quiet=args.quiet)
    with read_columns(args.file, chosen, progress) as columns:
        if not columns.rows:
            raise Failure(f"{args.file}: there is no row in it", Exit.USAGE)
        _stage_columns(args, desk, token, columns, progress)
        return columns.rows


def _listed(text: str) -> list[str]:
    return [name for name in (each.strip() for each in text.split(",")) if name]


def _stage_columns(args: argparse.Namespace, desk: Desk, token: str, columns: Columns, progress: Progress) -> None:
    import numpy as np

    from trader_monitor.core.models.columns import ColumnError
    from trader_monitor.core.models.drift.baseline import baseline_of
    from trader_monitor.core.models.streaming.detector import Detectors
    from trader_monitor.runtime.statistics.columns import nulls_apart

    now, names = time.time(), columns.names
    progress.total = len(names)
    for begin in range(0, len(names), GROUP):
        group = names[begin : begin + GROUP]
        made: dict[str, bytes] = {}
        watched: dict[str, Any] = {}
        for done, name in enumerate(group, begin):
            progress.show(done, clean(name))
            values = columns.values(name)
            try:
                baseline = baseline_of(
                    name,
                    values,
                    kind="category" if name in columns.categories else None,
                    source=args.file.name,
                    first_at=columns.first_at,
                    last_at=columns.last_at,
                    created=now,
                )
            except ColumnError as error:
                raise Failure(f"{args.file}, column {clean(name)}: {error}", Exit.USAGE) from None
            if baseline.kind == "numeric":
                baseline = nulls_apart(baseline, columns.nulls(name))
            made[name] = baseline.encode()
            if baseline.kind == "numeric":
                watched[name] = columns.numbers(name)[-WATCHED_ROWS:].copy()  # of the rest nothing is held
        detectors = {}
        if watched:
            rows = np.column_stack(list(watched.values()))
            detectors[group[0]] = Detectors.of(rows, list(watched)).encode()
        desk.stage(args.model, args.version, token, Pieces(made, detectors))
    progress.show(len(names), "columns")
    progress.close()


# --- show and list ------------------------------------------------------------------------------------------------


def _found(versions: Sequence[Version], model: str, version: str, *, of: str) -> Version:
    """The version, or what there is instead."""
    has = [each for each in versions if (each.rows if of == "predictions" else each.features)]
    ours = [each for each in has if each.model == model]
    if not ours:
        hint = among(model, {each.model for each in has}, f"models with {of}")
        raise Failure(f"there are no {of} of a model {clean(model)!r}; {hint}", Exit.USAGE)
    for each in ours:
        if each.version == version:
            return each
    hint = among(version, {each.version for each in ours}, "versions")
    raise Failure(f"{clean(model)} has no {of} of a version {clean(version)!r}; {hint}", Exit.USAGE)


def _show(args: argparse.Namespace, desk: Desk) -> int:
    versions = desk.versions()
    version = args.version
    if version is None:
        ours = [each for each in versions if each.model == args.model and each.features]
        version = max(ours, key=lambda each: each.baseline_at or 0.0).version if ours else ""
    known = _found(versions, args.model, version, of="baselines")
    views = desk.views(args.model, version, args.feature)
    if args.feature and not views:
        every = {view["feature"] for view in desk.views(args.model, version, None)}
        hint = among(args.feature, every, "features")
        raise Failure(
            f"{clean(args.model)} {clean(version)} has no baseline of {clean(args.feature)!r}; {hint}", Exit.USAGE
        )
    if args.json:
        print(json.dumps({"model": args.model, "version": version, "baselines": views}, ensure_ascii=False))
        return Exit.OK
    print(f"{clean(args.model)} {clean(version)}, set {clock(known.baseline_at)}")
    if args.feature:
        print(_one(views[0]))
        return Exit.OK
    head = ("FEATURE", "KIND", "ROWS", "NULL", "NAN", "INF", "MEAN", "STD", "MIN", "MAX", "EVIDENCE")
    counts = ("rows", "nulls", "nans", "infinities", "mean", "std", "minimum", "maximum")
    print(
        table(
            head,
            [
                (view["feature"], view["kind"], *(number(view[name]) for name in counts), view["evidence"] or "yes")
                for view in views
            ],
        )
    )
    return Exit.OK


def _reset(args: argparse.Namespace, desk: Desk) -> int:
    if not args.version:
        raise Failure("say which version: --version V", Exit.USAGE)
    _found(desk.versions(), args.model, args.version, of="baselines")
    let_go = desk.reset(args.model, args.version, [args.feature] if args.feature else [])
    if args.json:
        print(json.dumps({"model": args.model, "version": args.version, "reset": let_go}, ensure_ascii=False))
    else:
        print(f"alarms let go: {', '.join(map(clean, let_go)) or 'none stood'}")
    return Exit.OK


def _one(view: dict[str, Any]) -> str:
    """All that is known of one feature, a line each."""
    lines = []
    for name, value in view.items():
        match value:
            case None | [] | {} | "":
                continue
            case dict():
                text = ", ".join(f"{clean(key)}: {number(each)}" for key, each in value.items())
            case [dict(), *_]:
                text = ", ".join(f"{clean(each['name'])}: {each['count']:,}" for each in value)
            case list():
                text = ", ".join(number(each) for each in value)
            case bool():
                text = "yes" if value else "no"
            case float() if name in ("first_at", "last_at", "created"):
                text = clock(value)
            case int() | float():
                text = number(value)
            case _:
                text = clean(value)
        lines.append((name.replace("_", " "), text))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in lines)


def _list(args: argparse.Namespace, desk: Desk) -> int:
    versions = [each for each in desk.versions() if args.model in (None, each.model)]
    if args.json:
        print(json.dumps([each._asdict() for each in versions], ensure_ascii=False))
        return Exit.OK
    if not versions:
        print("(no model has predictions or a baseline)")
        return Exit.OK
    rows = [
        (
            each.model,
            each.version,
            number(each.rows),
            clock(each.last_at) if each.rows else "–",
            f"{each.features:,} columns, set {clock(each.baseline_at)}" if each.features else "none",
        )
        for each in versions
    ]
    tones = ["" if each.features else "warning" for each in versions]
    print(table(("MODEL", "VERSION", "PREDICTIONS", "LAST", "BASELINE"), rows, tones))
    return Exit.OK
