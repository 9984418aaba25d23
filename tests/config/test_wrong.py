"""Wrong configurations: each is refused with its place, its line and a way out, all at once, and no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from trader_monitor.config.errors import ConfigErrors, shown
from trader_monitor.config.load import load, parse
from trader_monitor.runtime.registry import Registry

HTTP_CHECK = '[checks.api]\ntype = "http"\nurl = "http://127.0.0.1"\n'


def errors(text: str, registry: Registry) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        parse(text, registry, base=Path("/base"))
    return [str(error) for error in raised.value.errors]


CASES = [
    (
        "a table that does not exist is named with the one that was meant",
        '[htp]\nlisten = "127.0.0.1:1"',
        ['line 1: htp: unknown table; did you mean "http"?'],
    ),
    (
        "a key that does not exist is named with the one that was meant",
        '[store]\nretentoin = "3d"',
        ['line 2: store.retentoin: unknown key; did you mean "retention"?'],
    ),
    (
        "a plugin's option that does not exist is told from the common keys too",
        HTTP_CHECK + 'evry = "3s"',
        ['line 4: checks.api.evry: unknown key; did you mean "every"?'],
    ),
    (
        "a plugin's own option is suggested as well",
        HTTP_CHECK + 'methud = "GET"',
        ['line 4: checks.api.methud: unknown key; did you mean "method"?'],
    ),
    (
        "a key that resembles none is told all that there are",
        '[logging]\ncolour = "red"',
        ["line 2: logging.colour: unknown key; there are format, level"],
    ),
    (
        "a number in quotes is told how to be written",
        '[store]\nmax_series = "50000"',
        ['line 2: store.max_series = "50000": expected an integer; write 50000 without quotes'],
    ),
    (
        "true in quotes is told how to be written",
        HTTP_CHECK + 'follow = "true"',
        ['line 4: checks.api.follow = "true": expected true or false; write true without quotes'],
    ),
    (
        "a baseline performance that is no share",
        "[[performance.baselines]]\nmodel = 'm'\nf1 = 80",
        ["line 3: performance.baselines[0].f1 = 80: expected at most 1"],
    ),
    (
        "a baseline performance that says nothing, and two of one version",
        "[[performance.baselines]]\nmodel = 'm'\n[[performance.baselines]]\nmodel = 'm'\nf1 = 0.7",
        [
            "line 1: performance.baselines[0]: gives no score; there are f1, precision, recall, accuracy, roc_auc, hit",
            "line 3: performance.baselines[1]: there is a baseline of m already",
        ],
    ),
    (
        "a limit that does not exist is told from those that do",
        "[[trading.limits]]\nmax_leverge = 3",
        ['line 2: trading.limits[0].max_leverge: unknown key; did you mean "max_leverage"?'],
    ),
    (
        "a limit of nothing, a limit that is none, and conventions for no account",
        "[[trading.limits]]\nmax_var = 0\n[[trading.limits]]\nsource = 'a'\n[[trading.accounts]]\nannualisation = 252",
        [
            "line 2: trading.limits[0].max_var = 0.0: expected more than 0",
            "line 3: trading.limits[1]: sets no limit; there are max_gross_exposure, max_net_exposure, max_leverage, "
            "max_position_share, max_positions, max_margin_use, max_drawdown, max_daily_loss, max_var",
            "line 5: trading.accounts[0]: names no account: give source, account or currency, or say it in [trading]",
        ],
    ),
    (
        "a year of no days",
        "[trading]\nannualisation = 0",
        ["line 2: trading.annualisation = 0: expected at least 1"],
    ),
    ("true is no integer", "[store]\nmax_series = true", ["line 2: store.max_series = true: expected an integer"]),
    (
        "a duration without a unit is refused",
        HTTP_CHECK + 'every = "15"',
        ['line 4: checks.api.every = "15": expected a duration such as "30s", "5m" or "1h30m"'],
    ),
    (
        "a duration that is a number is refused",
        "[rules.r]\nexpr = 'up'\nfor = 30",
        ['line 3: rules.r.for = 30: expected a duration such as "30s", "5m" or "1h30m"'],
    ),
    (
        "an interval below a second is refused",
        HTTP_CHECK + 'every = "500ms"',
        ['line 4: checks.api.every = "500ms": expected at least 1s'],
    ),
    (
        "a timeout longer than the interval is refused",
        HTTP_CHECK + 'every = "5s"\ntimeout = "6s"',
        ['line 5: checks.api.timeout = "6s": expected at most `every`'],
    ),
    (
        "a size without a unit is refused",
        '[ingest]\nmax_body = "8"',
        ['line 2: ingest.max_body = "8": expected a size such as "512KiB" or "64MiB"'],
    ),
    (
        "a port beyond 65535 is refused",
        '[http]\nlisten = "127.0.0.1:99999"',
        ['line 2: http.listen = "127.0.0.1:99999": expected an address such as "127.0.0.1:8008"'],
    ),
    (
        "a choice that does not exist is named with the one that was meant",
        '[channels.log]\nmin_severity = "critcal"',
        [
            'line 2: channels.log.min_severity = "critcal": expected one of info, warning, error, critical, emergency; '
            'did you mean "critical"?'
        ],
    ),
    (
        "a missing option is said at its table",
        "[collectors.bots]\nevery = '5s'",
        ["line 1: collectors.bots.match: is missing"],
    ),
    (
        "an option that must not be empty is refused empty",
        '[collectors.bots]\nmatch = ""',
        ['line 2: collectors.bots.match = "": must not be empty'],
    ),
    (
        "not a number is no number",
        '[collectors.bots]\nmatch = "a"\nratio = nan',
        ['line 3: collectors.bots.ratio = "nan": expected a finite number'],
    ),
    (
        "infinity is no number",
        '[collectors.bots]\nmatch = "a"\nratio = -inf',
        ['line 3: collectors.bots.ratio = "-inf": expected a finite number'],
    ),
    (
        "an integer of more than 64 bits is refused",
        "[store]\nmax_series = 99999999999999999999999",
        ["line 2: store.max_series = 99999999999999999999999: expected an integer of 64 bits"],
    ),
    (
        "a single value where several may stand is told to stand in brackets",
        HTTP_CHECK + "status = 200",
        ["line 4: checks.api.status = 200: expected an array; put it in brackets"],
    ),
    (
        "a wrong value in an array is named by its place there",
        HTTP_CHECK + 'status = [200, "204"]',
        ['line 4: checks.api.status[1] = "204": expected an integer; write 204 without quotes'],
    ),
    (
        "what a plugin itself refuses is said at its table",
        HTTP_CHECK + "status = []",
        ["line 4: checks.api.status = []: expected at least one code"],
    ),
    (
        "all that a plugin itself refuses is said, each under its key",
        HTTP_CHECK + 'status = []\nfrom = "a b"\nheaders = { X = "hunter2 " }',
        [
            "line 4: checks.api.status = []: expected at least one code",
            'line 5: checks.api.from = "a b": expected one word',
            "line 6: checks.api.headers.X: expected no space at the end",
        ],
    ),
    (
        "a fault of a plugin's that knows no key is said at its table",
        '[channels.pager]\ntype = "pager"\nnumber = 5',
        ["line 1: channels.pager: there is no such number"],
    ),
    (
        "a plugin that does not exist is named with the one that was meant",
        '[checks.api]\ntype = "htttp"',
        ['line 2: checks.api.type = "htttp": no such check; did you mean "http"?'],
    ),
    (
        "a table without a type is told what types there are",
        "[actions.api]",
        ["line 1: actions.api: there is no action of that name, so it needs a type; there are systemd"],
    ),
    (
        "a type that is no text is refused",
        "[checks.api]\ntype = 5",
        ["line 2: checks.api.type = 5: no such check; there are http, promql"],
    ),
    (
        "a key where a table belongs is told how to be written",
        "[checks]\napi = 3",
        ["line 2: checks.api: expected a table; write [checks.NAME] above it"],
    ),
    (
        "a section that is no table is told how to be written",
        "checks = 3",
        ["line 1: checks = 3: expected tables, written as [checks.NAME]"],
    ),
    (
        "a name that would break labels is refused",
        '[channels."a b"]\ntype = "log"',
        ['line 1: channels."a b": is not a name: a letter, then at most 63 letters, digits and _ . : -'],
    ),
    (
        "a plain token is refused and not shown",
        '[http]\ntokens = ["hunter2"]',
        [
            'line 2: http.tokens[0]: expected { env = "NAME" }, { file = "PATH" } or { credential = "NAME" }, '
            "never the secret itself"
        ],
    ),
    (
        "a plain token outside of an array is refused and not shown",
        '[http]\ntokens = "hunter2"',
        ["line 2: http.tokens: expected an array"],
    ),
    (
        "a plain secret of a plugin is refused and not shown",
        HTTP_CHECK + 'password = "hunter2"',
        [
            'line 4: checks.api.password: expected { env = "NAME" }, { file = "PATH" } or { credential = "NAME" }, '
            "never the secret itself"
        ],
    ),
    (
        "a password in an address is refused and not shown",
        '[checks.api]\ntype = "http"\nurl = "https://me:hunter2@desk.example/"',
        ['line 3: checks.api.url: holds a plain password; give it as { env = "NAME" } or { file = "PATH" }'],
    ),
    (
        "a secret from an unset variable names the variable",
        HTTP_CHECK + 'password = { env = "TRADER_MONITOR_NO_SUCH" }',
        ["line 4: checks.api.password: the environment variable TRADER_MONITOR_NO_SUCH is not set"],
    ),
    (
        "a secret from a missing file names the file",
        HTTP_CHECK + 'password = { file = "/no/such" }',
        ["line 4: checks.api.password: cannot read /no/such: No such file or directory"],
    ),
    (
        "a kind of secret that does not exist is refused",
        HTTP_CHECK + 'password = { vault = "x" }',
        ["line 4: checks.api.password: expected env, file or credential, not 'vault'"],
    ),
    (
        "a secret where none is taken is said to be none",
        '[collectors.bots]\nmatch = { env = "HOME" }',
        ["line 2: collectors.bots.match: expected a string: this is not a secret, write it out"],
    ),
    (
        "the network may not read without tokens",
        '[http]\nlisten = "0.0.0.0:8008"',
        [
            'line 2: http.listen = "0.0.0.0:8008": anybody on the network could read this: set [http] tokens, '
            "or listen on 127.0.0.1"
        ],
    ),
    (
        "the live feed is not open to the network without tokens either",
        '[live]\nlisten = "[::]:8009"',
        [
            'line 2: live.listen = "[::]:8009": anybody on the network could read this: set [http] tokens, '
            "or listen on 127.0.0.1"
        ],
    ),
    (
        "two doors at one address are refused",
        '[live]\nlisten = "127.0.0.1:8008"',
        ['line 2: live.listen = "127.0.0.1:8008": is the address of [http] too; take another port'],
    ),
    (
        "an origin with a path is none",
        '[live]\norigins = ["https://desk.example", "https://desk.example/", "null"]',
        [
            'line 2: live.origins[1] = "https://desk.example/": expected an origin such as "https://desk.example:8443"',
            'line 2: live.origins[2] = "null": expected an origin such as "https://desk.example:8443"',
        ],
    ),
    (
        "a socket's path longer than the kernel takes is refused",
        f'[ingest]\nsocket = "/{"x" * 107}"',
        [f"line 2: ingest.socket = {shown('/' + 'x' * 107)}: is longer than the 107 bytes a socket may have"],
    ),
    (
        "a coarser tier that forgets before the finer one is refused",
        '[store]\nraw = "31d"',
        ["line 1: store.minute: expected at least as long as raw, which it continues"],
    ),
    (
        "a rung that does not exist is named with the one that was meant",
        HTTP_CHECK + 'recover = ["restrat"]\n[actions.restart]\ntype = "systemd"',
        ['line 4: checks.api.recover[0] = "restrat": no such action; did you mean "restart"?'],
    ),
    (
        "a rung without any action is told so",
        HTTP_CHECK + 'recover = ["restart"]',
        ['line 4: checks.api.recover[0] = "restart": no such action; there are no actions'],
    ),
    (
        "a rung twice in one ladder is refused",
        HTTP_CHECK + 'recover = ["a", "a"]\n[actions.a]\ntype = "systemd"',
        ['line 4: checks.api.recover[1] = "a": is in this ladder already'],
    ),
    (
        "a rung before one that it must follow is refused",
        HTTP_CHECK
        + 'recover = ["b", "a"]\n[actions.a]\ntype = "systemd"\n[actions.b]\ntype = "systemd"\nafter = ["a"]',
        ['line 4: checks.api.recover[0] = "b": must come after "a", as [actions.b] says'],
    ),
    (
        "actions that must follow each other go round in a circle",
        '[actions.a]\ntype = "systemd"\nafter = ["b"]\n[actions.b]\ntype = "systemd"\nafter = ["c"]\n'
        '[actions.c]\ntype = "systemd"\nafter = ["b"]',
        ["line 6: actions.b.after: goes round in a circle: b → c → b"],
    ),
    (
        "an action that must follow itself is a circle too",
        '[actions.a]\ntype = "systemd"\nafter = ["a"]',
        ["line 3: actions.a.after: goes round in a circle: a → a"],
    ),
    (
        "an action after one that does not exist is refused",
        '[actions.a]\ntype = "systemd"\nafter = ["z"]',
        ['line 3: actions.a.after[0] = "z": no such action; there are a'],
    ),
    (
        "what is no TOML is refused with its line",
        "[http]\nlisten = ",
        ["line 2: not TOML: Invalid value"],
    ),
    ("a key twice is no TOML", "[store]\nraw = '1d'\nraw = '2d'", ["line 3: not TOML: Cannot overwrite a value"]),
    ("nesting without end is refused", "a = " + "[" * 200_000, None),
    ("a key of a hundred thousand parts is refused", "a" + ".a" * 100_000 + " = 1", None),
]


@pytest.mark.parametrize(("text", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_refused(text: str, wanted: list[str] | None, registry: Registry) -> None:
    found = errors(text, registry)
    if wanted is None:
        assert len(found) == 1
        assert "not taken" in found[0]
    else:
        assert found == wanted
    assert not any("hunter2" in error for error in found)


RULES = [
    ("a rule on a function that does not exist", 'expr = "summ(up)"', "expr", "summ"),
    ("a rule that does not parse", 'expr = "sum("', "expr", "sum("),
    ("a rule on an empty expression", 'expr = ""', "expr", "no expression"),
    ("a rule that clears by what does not parse", 'expr = "up"\nclear = "up =="', "clear", "up =="),
    ("a rule that is no vector", 'expr = "1"', "expr", "vector"),
    ("a summary that reaches into an object", 'expr = "up"\nsummary = "{x.__class__}"', "summary", "__class__"),
    ("a summary of a hundred million blanks", 'expr = "up"\nsummary = "{value:>100000000}"', "summary", "100000000"),
    ("a summary with an open brace", 'expr = "up"\nsummary = "{value"', "summary", "{value"),
    ("a label that Prometheus refuses", 'expr = "up"\nlabels = { "a b" = "c" }', 'labels."a b"', "a b"),
    ("a label that the rule sets itself", 'expr = "up"\nlabels = { severity = "c" }', "labels.severity", "rule"),
    ("a label that is no text", 'expr = "up"\nlabels = { desk = 3 }', "labels.desk", "string"),
]


@pytest.mark.parametrize(("text", "key", "word"), [case[1:] for case in RULES], ids=[case[0] for case in RULES])
def test_rules_are_refused_with_their_place(text: str, key: str, word: str, registry: Registry) -> None:
    (found,) = errors(f"[rules.mine]\n{text}\n", registry)
    assert f"rules.mine.{key}" in found
    assert word in found


def test_every_mistake_in_a_summary_is_said(registry: Registry) -> None:
    found = errors('[rules.mine]\nexpr = "sum("\nsummary = "{lables.x}: {value:.1} of {labels.y:f}"\n', registry)
    assert len(found) == 3
    assert [error.partition(" = ")[0] for error in found] == [
        "line 2: rules.mine.expr",
        "line 3: rules.mine.summary",
        "line 3: rules.mine.summary",
    ]
    assert "got {lables.x} (at character 1)" in found[1]
    assert "a label takes no format (at character 36)" in found[2]


def test_a_promql_check_that_does_not_compile_is_refused(registry: Registry) -> None:
    (found,) = errors('[checks.lag]\ntype = "promql"\nexpr = "lag >"', registry)
    assert found.startswith('line 3: checks.lag.expr = "lag >": ')


def test_every_error_is_said_at_once_in_the_order_of_the_file(registry: Registry) -> None:
    found = errors(
        '[htp]\n[http]\ntokens = ["hunter2"]\n[store]\nraw = 3\nmax_series = "x"\n[checks.a]\ntype = "nope"\n'
        '[rules.r]\nexpr = "sum("\nseverity = "bad"\n[channels.log]\nx = 1\n',
        registry,
    )
    lines = [int(error.split()[1].rstrip(":")) for error in found]
    assert lines == [1, 3, 5, 6, 8, 10, 11, 13]


def test_a_wrong_check_does_not_hide_a_wrong_ladder(registry: Registry) -> None:
    text = '[checks.a]\ntype = "promql"\nexpr = "up"\ntimeout = "soon"\nrecover = ["restrt"]\n'
    text += '[actions.restart]\ntype = "nosuch"\n'
    found = errors(text, registry)
    assert len(found) == 3
    assert any("checks.a.recover" in error and 'did you mean "restart"' in error for error in found), found


def test_a_terminal_obeys_nothing_of_an_error(registry: Registry) -> None:
    found = errors('[store]\nraw = "\\u001b]0;owned\\u0007\\u009b2J"\n"\\u001b[2J" = 1', registry)
    assert len(found) == 2
    assert all(error.isprintable() for error in found)


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "config.toml"
    file.write_text("")
    file.chmod(0o666)
    with pytest.raises(ConfigErrors, match="writable by everyone"):
        load(file, registry)
    file.chmod(0o664)
    assert load(file, registry).file == file


FILES = [
    ("a file that is not there", None, "No such file"),
    ("a file that is no text", b"\xff\xfe", "not UTF-8"),
    ("a file of more than a mebibyte", b"# \n" * 400_000, "larger than 1 MiB"),
]


@pytest.mark.parametrize(("content", "word"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_files_are_refused(content: bytes | None, word: str, tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "config.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigErrors, match=word) as raised:
        load(file, registry)
    assert str(file) in str(raised.value)


def test_a_folder_is_no_configuration(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(ConfigErrors, match="directory"):
        load(tmp_path, registry)
