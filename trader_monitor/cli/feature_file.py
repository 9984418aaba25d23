"""Files of features: CSV, Parquet and JSON lines, read row by row; what is wrong is told with its row and column."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from trader_monitor.cli.column_spool import Columns, Spool, Wrong
from trader_monitor.cli.outcome import Exit, Failure
from trader_monitor.cli.progress import Progress
from trader_monitor.cli.text import clean
from trader_monitor.config.errors import among
from trader_monitor.core.models.names import LABEL, OUTPUT, PROBABILITY

__all__ = ["Chosen", "Columns", "read_columns"]

NULLS = frozenset(("", "null", "NULL", "NA", "N/A"))
"""Cells of a CSV file that hold nothing. "nan" is not a number, which is something else."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]|$)")
_EVERY = 2_000
_CELL = 1 << 20


class Chosen(NamedTuple):
    """Which columns, and what they are. `renamed` gives the file's columns their names here."""

    columns: tuple[str, ...] | None = None
    categories: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = {}
    time: str | None = None

    def wants(self, name: str) -> bool:
        return self.columns is None or name in self.columns or name in self.renamed or name == self.time

    def named(self) -> set[str]:
        """All columns that were named, which must be there."""
        every = {*(self.columns or ()), *self.categories, *self.renamed}
        return every | ({self.time} if self.time is not None else set())


class _Row(NamedTuple):
    number: int
    cells: dict[str, Any]


def read_columns(path: Path, chosen: Chosen, progress: Progress) -> Columns:
    """The file's columns, to be used as a context. Raises Failure, which names the file, the row and the column."""
    kinds: dict[str, Callable[[Path, Chosen, Progress], Iterator[_Row]]] = {
        ".csv": _csv,
        ".parquet": _parquet,
        ".jsonl": _json_lines,
    }
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise Failure(f"{path} is none of {', '.join(kinds)}: the name's ending says what it is", Exit.USAGE)
    columns = Columns()
    try:
        spool = Spool(columns, frozenset(chosen.renamed.get(name, name) for name in chosen.categories))
        for row in kind(path, chosen, progress):
            spool.row(_times(columns, chosen, row), row.number)
        spool.finish()
        return columns
    except Wrong as wrong:
        where = (f", row {wrong.row:,}" if wrong.row else "") + (
            f", column {clean(wrong.column)}" if wrong.column else ""
        )
        text = f"{path}{where}: {wrong}"
    except UnicodeDecodeError as error:
        text = f"{path}: not UTF-8 text: {error.reason} at byte {error.start:,}"
    except OSError as error:
        text = f"cannot read {path}: {error.strerror or error}"
    except BaseException:
        columns.__exit__(None, None, None)
        raise
    columns.__exit__(None, None, None)
    raise Failure(text, Exit.USAGE)


def _times(columns: Columns, chosen: Chosen, row: _Row) -> dict[str, Any]:
    """The row without its time, under the names that are meant."""
    if chosen.time is not None:
        at = _moment(row.cells.pop(chosen.time, None), chosen.time, row.number)
        if columns.last_at is not None and at < columns.last_at:
            raise Wrong(
                "it is before the row above: rows must be in the order of time", row=row.number, column=chosen.time
            )
        columns.first_at = at if columns.first_at is None else columns.first_at
        columns.last_at = at
    if not chosen.renamed:
        return row.cells
    return {chosen.renamed.get(name, name): value for name, value in row.cells.items()}


def _moment(value: Any, column: str, number: int) -> float:
    """Unix seconds of a cell of time."""
    try:
        match value:
            case datetime():
                return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()
            case int() | float() if math.isfinite(value):
                return float(value)
            case str():
                moment = datetime.fromisoformat(value)
                return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        pass
    raise Wrong(f"{value!r:.60} is not a time: Unix seconds or ISO 8601", row=number, column=column)


def _there(chosen: Chosen, names: list[str], *, row: int = 0) -> None:
    """That each column has a name of its own, and that those that were asked for are among them."""
    for name in names:
        if not name.strip() or names.count(name) > 1:
            raise Wrong(f"{name!r:.60} is no name of one column", row=row)
    for name in sorted(chosen.named() - set(names)):
        raise Wrong(f"there is no column {clean(name)!r}; {among(name, names, 'columns')}")


# --- CSV ----------------------------------------------------------------------------------------------------------


def _csv(path: Path, chosen: Chosen, progress: Progress) -> Iterator[_Row]:
    progress.total = max(path.stat().st_size, 1)
    csv.field_size_limit(_CELL)
    with path.open("rb") as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
        head = text.readline()
        delimiter = max(",;\t", key=head.count)
        names = next(csv.reader([head], delimiter=delimiter), [])
        if not names:
            raise Wrong("there is no head with the columns' names in it", row=1)
        _there(chosen, names, row=1)
        wanted = [(place, name) for place, name in enumerate(names) if chosen.wants(name)]
        verbatim = {*chosen.categories, chosen.time}
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                if not row:
                    continue
                number = reader.line_num + 1
                if len(row) != len(names):
                    raise Wrong(f"it has {len(row)} cells, the head has {len(names)}", row=number)
                yield _Row(number, {name: _cell(row[place], name, verbatim, number) for place, name in wanted})
                if number % _EVERY == 0:
                    progress.show(min(raw.tell(), progress.total - 1), "bytes")
        except csv.Error as error:
            raise Wrong(str(error), row=reader.line_num + 1) from None


def _cell(text: str, name: str, verbatim: set[str | None], number: int) -> float | str | None:
    if text in NULLS:
        return None
    try:
        value = float(text)
    except ValueError:
        if name not in verbatim:
            _no_date(text, name, number)
        return text
    return text if name in verbatim and name is not None and math.isnan(value) else value


def _no_date(text: str, name: str, number: int) -> None:
    if _DATE.match(text):
        what = f"{text!r:.40} is a date, which is no feature"
        raise Wrong(f"{what}: name it with --time, or leave it out with --columns", row=number, column=name)


# --- JSON lines ---------------------------------------------------------------------------------------------------


def _json_lines(path: Path, chosen: Chosen, progress: Progress) -> Iterator[_Row]:
    progress.total = max(path.stat().st_size, 1)
    missing = chosen.named()
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise Wrong(f"not JSON: {error}", row=number) from None
            if not isinstance(value, dict):
                raise Wrong(f"expected an object, got {type(value).__name__}", row=number)
            cells = _prediction(value, number) if isinstance(value.get("features"), dict) else value
            missing -= cells.keys()
            yield _Row(number, {name: _plain(each, name, number) for name, each in cells.items() if chosen.wants(name)})
            if number % _EVERY == 0:
                progress.show(min(lines.tell(), progress.total - 1), "bytes")
    for name in sorted(missing):
        raise Wrong(f"no line has {clean(name)!r}")


def _prediction(event: dict[str, Any], number: int) -> dict[str, Any]:
    """A prediction as bots report it: its features, and what it said."""
    if event.get("type", "prediction") != "prediction":
        raise Wrong(f"expected predictions, got a {event['type']!r:.40}", row=number)
    said = {OUTPUT: event.get("output"), PROBABILITY: event.get("probability"), LABEL: event.get("label")}
    return {**event["features"], **{name: value for name, value in said.items() if value is not None}}


def _plain(value: Any, name: str, number: int) -> float | str | None:
    if value is None or isinstance(value, str):
        if value is not None:
            _no_date(value, name, number)
        return value
    if isinstance(value, bool | int | float):
        try:
            return float(value)
        except OverflowError:
            raise Wrong("the number is beyond double precision", row=number, column=name) from None
    what = "an object" if isinstance(value, dict) else "an array"
    raise Wrong(f"expected a number or a text, got {what}: name plain columns with --columns", row=number, column=name)


# --- Parquet ------------------------------------------------------------------------------------------------------


def _parquet(path: Path, chosen: Chosen, progress: Progress) -> Iterator[_Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Failure(
            f"reading {path.name} needs pyarrow: pip install 'trader-monitor[parquet]', or give a .csv file", Exit.USAGE
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            progress.total = max(file.metadata.num_rows, 1)
            schema = file.schema_arrow
            _there(chosen, schema.names)
            wanted = [field for field in schema if chosen.wants(field.name)]
            for field in wanted:
                if field.name != chosen.time:
                    _usable(pyarrow.types, field)
            number = 0
            names = [field.name for field in wanted]
            for batch in file.iter_batches(batch_size=_EVERY, columns=names):
                lists = [_floats(pyarrow, column, field) for column, field in zip(batch.columns, wanted, strict=True)]
                for cells in zip(*lists, strict=True):
                    number += 1
                    yield _Row(number, dict(zip(names, cells, strict=True)))
                progress.show(min(number, progress.total - 1), "rows")
    except (pyarrow.ArrowException, ValueError) as error:
        raise Wrong(f"not a Parquet file that can be read: {str(error).splitlines()[0]}") from None


def _usable(types: Any, field: Any) -> None:
    """Refuses a column that is neither numbers nor texts by its type."""
    kind = field.type
    if types.is_dictionary(kind):
        kind = kind.value_type
    plain = (types.is_floating, types.is_integer, types.is_decimal, types.is_boolean, types.is_null)
    if any(each(kind) for each in (*plain, types.is_string, types.is_large_string)):
        return
    if types.is_temporal(kind):
        hint = "name it with --time, or leave it out with --columns"
        raise Wrong(f"it is of type {field.type}, which is no feature: {hint}", column=field.name)
    what = f"it is of type {field.type}, expected numbers or texts"
    raise Wrong(f"{what}: leave it out with --columns, or write its parts as columns", column=field.name)


def _floats(pyarrow: Any, column: Any, field: Any) -> list[Any]:
    """A chunk's values: floats, texts, None; moments of a column of time."""
    types = pyarrow.types
    kind = column.type
    if types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind) or types.is_boolean(kind):
        found: list[Any] = column.cast(pyarrow.float64(), safe=False).to_pylist()
        return found
    values: list[Any] = column.to_pylist()
    return [
        datetime(value.year, value.month, value.day, tzinfo=UTC) if type(value).__name__ == "date" else value
        for value in values
    ]
