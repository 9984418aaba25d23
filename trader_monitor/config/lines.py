"""Which line of a TOML text a path was written on. Asked only once something is known to be wrong."""

from __future__ import annotations

import re

from trader_monitor.config.errors import Place

__all__ = ["find_lines", "line_of"]

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<string>\"\"\"(?:\\.|[^\\])*?\"{3,5}|'''.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
      | (?P<open>[\[{])
      | (?P<close>[\]}])
      | (?P<equals>=)
      | (?P<dot>\.)
      | (?P<word>[^\s\#"'\[\]{}=.,]+|,)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def find_lines(text: str) -> dict[Place, int]:
    """Paths of tables and of top-level keys within them, with their line, counted from 1.

    The tables of an array are numbered from 0. Keys inside inline tables have no entry of their own: `line_of` falls
    back to what encloses them.
    """
    lines: dict[Place, int] = {}
    numbers: dict[Place, int] = {}
    nested = False
    table: Place = ()
    key: list[str] = []
    line, depth, value, header = 1, 0, False, False
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token[0]
        match kind:
            case "newline":
                if depth == 0 or header:
                    key, value, header, depth = [], False, False, 0
            case "open" if not value and not key:
                header, depth = True, depth + 1
                nested = depth > 1
            case "open":
                depth += 1
            case "close" if header:
                depth -= 1
                if depth == 0 and key:
                    table = tuple(key)
                    if nested:
                        numbers[table] = number = numbers.get(table, -1) + 1
                        table = (*table, number)
                    lines.setdefault(table, line)
                    key = []
            case "close":
                depth = max(0, depth - 1)
            case "equals" if not value and key:
                lines.setdefault((*table, *key), line)
                value = True
            case "string" if not value:
                key.append(_unquote(word))
            case "word" if not value:
                key.append(word)
        line += word.count("\n")
    return lines


def line_of(lines: dict[Place, int], path: Place) -> int | None:
    """The line of the path, or of the nearest thing around it."""
    for length in range(len(path), 0, -1):
        around = path[:length]
        if around in lines:
            return lines[around]
        below = [line for known, line in lines.items() if known[:length] == around]
        if below:
            return min(below)
    return None


def _unquote(text: str) -> str:
    return text[1:-1] if text[0] == "'" else _ESCAPE.sub(r"\1", text[1:-1])
