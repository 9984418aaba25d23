// The tables, each drawn from the store.

import { rank } from "./store.js";
import { ago, amount, at, bytes, clock, count, dim, el, factor, gain, get, join, key, money, mood, none, percent, pill, span, tone } from "./format.js";

const OK = { running: "ok", backoff: "warning", parked: "critical", stopped: "info" };
const CLOSED = { closed: "ok", half_open: "warning", open: "error" };

export class Board {
	constructor(store) {
		this.store = store;
		this.drawn = new Map();
		this.chosen = null;
	}

	/** Draws what has changed; the rest keeps its focus and selection. */
	draw() {
		const { store } = this;
		for (const [id, draw] of Object.entries(PARTS)) {
			const target = get(id);
			const part = el("div", {}, draw(store, this));
			const shown = part.innerHTML.replace(/(data-ago=)[^<]*/g, "$1");
			if (this.drawn.get(id) === shown) continue;
			this.drawn.set(id, shown);
			const open = [...target.querySelectorAll("details")].map((it) => it.open);
			const focus = target.contains(document.activeElement) ? [...target.querySelectorAll("button,summary")].indexOf(document.activeElement) : -1;
			target.replaceChildren(...part.childNodes);
			target.querySelectorAll("details").forEach((it, n) => (it.open = open[n] ?? false));
			if (focus >= 0) target.querySelectorAll("button,summary")[focus]?.focus();
		}
		host(store);
	}
}

/** A table: columns are [title, cell of a row, class]. */
function table(columns, rows, stack = true) {
	const head = el("tr", {}, columns.map(([title, , kind]) => el("th", { scope: "col", class: kind !== "w" && kind }, title)));
	const cell = (row, [title, of, kind], n) => {
		const content = of(row);
		return el("td", { class: kind, "data-h": kind === "n" && title }, n && content === none ? "" : content);
	};
	return el("div", { class: "scroll" }, el("table", { class: stack && "fold" }, el("thead", {}, head), el("tbody", {}, rows.map((row) => el("tr", {}, columns.map((column, n) => cell(row, column, n)))))));
}

const empty = (title, text, example) => [el("p", { class: "empty" }, el("b", {}, title), " ", text), example && el("pre", {}, example)];
const post = (type, fields) => `curl ${location.origin}/v1/events \\\n  -H 'Content-Type: application/json' \\\n  -d '{"type": "${type}", ${fields}, "at": '$(date +%s)'}'`;
const ACCOUNT = ["source", "account", "currency"];

/** Rows of series that share labels: { labels, metric: value, … }. */
function rows(store, names, keys) {
	const found = new Map();
	for (const name of names) {
		for (const { labels, v } of store.all(name)) {
			const id = key(labels, keys);
			if (!found.has(id)) found.set(id, Object.fromEntries(keys.map((k) => [k, labels[k]])));
			found.get(id)[name] = v;
		}
	}
	return [...found.values()];
}

const named = (row) => join(row.source, row.account);

function accounts(store, board) {
	const found = rows(store, "account_equity account_margin_used account_drawdown_ratio account_drawdown_max_ratio account_pnl pnl_realized pnl_realized_reported pnl_drawdown_max trade_fees_total trade_profit_factor".split(" "), ACCOUNT);
	if (!found.length) {
		return empty("No account yet.", "It appears with a bot's first event. Send one, or play a recording:", post("account", '"source": "my-bot", "equity": 10000, "currency": "USD"') + "\n\ntrader-monitor play FILE --speed 100");
	}
	found.sort((a, b) => named(a).localeCompare(named(b)));
	const a = found.find((row) => key(row, ACCOUNT) === board.chosen) ?? found[0];
	if (key(a, ACCOUNT) !== board.shown) board.account = Object.fromEntries(ACCOUNT.filter((k) => a[k]).map((k) => [k, a[k]]));
	board.shown = key(a, ACCOUNT);
	tabs(found, a, board);
	const labels = { source: a.source, ...(a.account && { account: a.account }) };
	const closed = Object.fromEntries(store.all("trades_closed_total", labels).map((s) => [s.labels.result, s.v]));
	const total = Object.values(closed).reduce((sum, n) => sum + n, 0);
	const line = (title, value, kind) => value !== none && [el("dt", {}, title), el("dd", { class: kind }, value)];
	const split = ["win", "loss", "flat"].filter((r) => closed[r]).map((r) => `${count(closed[r])} ${{ win: "won", loss: "lost", flat: "even" }[r]}`).join(" · ");
	return [
		el("p", { class: "sub" }, named(a) + ", realised, net of fees"),
		el("p", { class: "big " + mood(a.pnl_realized) }, gain(a.pnl_realized), " ", el("small", {}, a.currency ?? "")),
		el("dl", { class: "facts" },
			line("Equity", money(a.account_equity, a.currency)),
			line("Fees", money(a.trade_fees_total, a.currency)),
			line("Closed positions", total ? [count(total), el("small", {}, split)] : none),
			line("Win rate", percent(store.value("trade_win_ratio", labels))),
			line("Profit factor", factor(a.trade_profit_factor)),
			line("Maximum drawdown", percent(a.account_drawdown_max_ratio)),
			line("Drawdown now", percent(a.account_drawdown_ratio), a.account_drawdown_ratio > 0.1 ? "down" : ""),
			line("Deepest fall of P&L", money(a.pnl_drawdown_max, a.currency)),
			line("Margin in use", money(a.account_margin_used, a.currency)),
			differs(a, "account_pnl", "By the account's own equity"),
			differs(a, "pnl_realized_reported", "As its own fills say"))];
}

/** One button for each account. */
function tabs(found, chosen, board) {
	const shown = found.length > 1 ? found : [];
	get("tabs").replaceChildren(...shown.map((row) => {
		const button = el("button", { type: "button", "aria-pressed": row === chosen }, join(named(row), row.currency));
		button.onclick = () => ((board.chosen = key(row, ACCOUNT)), board.draw());
		return button;
	}));
}

/** Where the account's own figure is not ours, both are shown. */
function differs(a, name, title) {
	const own = a[name];
	if (!(Math.abs(own - a.pnl_realized) >= 0.005)) return null;
	return el("dd", { class: "own" }, `${title}: `, el("b", {}, gain(own, a.currency)), ` (${gain(own - a.pnl_realized, a.currency)} against ours)`);
}

function positions(store) {
	const keys = ["source", "account", "exchange", "symbol"];
	const found = rows(store, ["position_quantity", "position_reported_quantity", "position_unrealized_pnl", "position_notional"], keys).filter((p) => p.position_quantity || p.position_reported_quantity);
	if (!found.length) return store.all("position_quantity").length ? empty("Flat.", "No position is open.") : empty("No position yet.", "Fills add up to one, compared with what the bot reports.");
	return table([
		["Symbol", (p) => p.symbol],
		["Where", (p) => join(p.exchange, named(p)), "w"],
		["Quantity", (p) => amount(p.position_quantity), "n"],
		["Reported", (p) => (p.position_reported_quantity ?? p.position_quantity) !== p.position_quantity && tone("amber", amount(p.position_reported_quantity)), "n"],
		["Value", (p) => money(p.position_notional), "n"],
		["Unrealised", (p) => tone(mood(p.position_unrealized_pnl), gain(p.position_unrealized_pnl)), "n"],
	], found);
}

function trades(store) {
	if (!store.trades.length) return empty("No fill yet.", "Each one arrives as a trade event.");
	return table([
		["Symbol", (t) => t.symbol],
		["Time", (t) => at(t.at)],
		["Side", (t) => tone(t.side === "buy" ? "up" : "down", t.side)],
		["Quantity", (t) => amount(t.quantity), "n"],
		["Price", (t) => amount(t.price), "n"],
		["Fee", (t) => money(t.fee), "n late"],
	], store.trades.slice(0, 8), false);
}

function host(store) {
	const load = [1, 5, 15].map((n) => store.value("host_load" + n)?.toFixed(2));
	const disk = store.all("host_filesystem_usage_ratio").sort((a, b) => b.v - a.v)[0];
	const room = store.value("host_memory_available_bytes"), boot = store.value("host_boot_time_seconds");
	get("host-now").textContent = join(load[0] && "load " + load.join(" "), room && bytes(room) + " memory free", disk && `${disk.labels.mountpoint ?? "disk"} ${percent(disk.v, 0)} full`, boot && "up " + span(store.now() - boot));
}

function exchanges(store) {
	const now = store.now();
	const found = new Map();
	const of = (name) => found.get(name) ?? found.set(name, { name, links: [], calls: 0, errors: 0 }).get(name);
	for (const s of store.all("exchange_connected")) of(s.labels.exchange).links.push(s);
	for (const s of store.all("exchange_requests_total")) {
		of(s.labels.exchange).calls += s.v;
		if (s.labels.outcome === "error") of(s.labels.exchange).errors += s.v;
	}
	for (const s of store.all("market_data_frame_timestamp_seconds")) of(s.labels.exchange);
	for (const s of store.all("exchange_rate_limit_remaining")) {
		const { __name__, ...scope } = s.labels, it = of(scope.exchange);
		it.room = Math.min(it.room ?? Infinity, s.v / store.value("exchange_rate_limit_limit", scope));
	}
	if (!found.size) return empty("No exchange yet.", "Connections, calls, limits and market data gather here.", post("connection", '"exchange": "kraken", "state": "connected"'));
	const link = (e) => {
		if (!e.links.length) return none;
		const worst = Math.min(...e.links.map((s) => s.v));
		return worst === 1 ? pill("ok", "connected") : worst > 0 ? pill("warning", "degraded") : pill("error", "disconnected");
	};
	const age = (e, name) => {
		const ages = store.all(name, { exchange: e.name }).map((s) => s.v);
		return ages.length ? ago(Math.min(...ages), now) : none;
	};
	return table([
		["Exchange", (e) => e.name],
		["Connection", link],
		["Calls", (e) => count(e.calls || null), "n"],
		["Failed", (e) => percent(e.errors / e.calls, 1), "n"],
		["Limit left", (e) => tone(e.room < 0.1 && "down", percent(e.room, 0)), "n"],
		["Oldest frame", (e) => age(e, "market_data_frame_timestamp_seconds"), "n"],
		["Oldest change", (e) => age(e, "market_data_change_timestamp_seconds"), "n"],
	], [...found.values()].sort((a, b) => a.name.localeCompare(b.name)));
}

function bots(store) {
	const found = rows(store, ["heartbeat_timestamp_seconds", "heartbeat_interval_seconds"], ["source"]);
	if (!found.length) return empty("No heartbeat yet.", "A bot that promises a sign of life is missed within three beats.", post("heartbeat", '"source": "my-bot", "interval_seconds": 10'));
	const now = store.now();
	return table([
		["Bot", (b) => b.source],
		["State", (b) => {
			const state = store.all("heartbeat_state", { source: b.source }).find((s) => s.v === 1)?.labels.state?.replace("_", " ") ?? "alive";
			const missed = b.heartbeat_interval_seconds ? (now - b.heartbeat_timestamp_seconds) / b.heartbeat_interval_seconds : 0;
			return state === "stopped" ? pill("info", state) : missed > 3 ? pill("error", "silent") : pill(state === "paused" ? "warning" : "ok", state);
		}],
		["Last beat", (b) => ago(b.heartbeat_timestamp_seconds, now), "n"],
		["Promised every", (b) => span(b.heartbeat_interval_seconds), "n"],
	], found);
}

function checks(store) {
	const found = [...store.checks.values()].sort((a, b) => (a.ok === false ? 0 : 1) - (b.ok === false ? 0 : 1) || a.name.localeCompare(b.name));
	if (!found.length) return empty("No check is configured.", "A check asks again and again, and can have it repaired:", '[checks.exchange-api]\ntype = "http"\nurl = "https://exchange.example/ping"');
	return [
		table([
			["Check", (c) => [c.name, c.type && dim(" " + c.type)]],
			["Result", (c) => (c.ok === null ? pill("info", "no data") : c.ok ? pill("ok", "passes") : pill("error", "fails"))],
			["Breaker", (c) => [pill(CLOSED[c.breaker], c.breaker.replace("_", "-")), c.failures > 0 && dim(` ${count(c.failures)} in a row`)]],
			["Took", (c) => span(c.seconds), "n"],
			["Asked", (c) => ago(c.at, store.now()), "n"],
			["", (c) => c.message ?? "", "w wide"],
		], found),
		store.steps.length > 0 && el("details", {}, el("summary", {}, `Recovery: ${count(store.steps.length)} latest steps`), table([
			["Step", (s) => `${s.check}: ${s.action}`],
			["When", (s) => at(s.at)],
			["Phase", (s) => s.phase.replace("_", " ")],
			["Who", (s) => s.who, "w"],
			["Why and what came of it", (s) => join(s.why, s.outcome), "w wide"],
		], store.steps.slice(0, 20)))];
}

const alarm = (a) => pill(a.severity, a.severity);

/** What a check was answered, and what was done. */
function evidence(store, name) {
	const check = store.checks.get(name), last = store.steps.find((s) => s.check === name);
	const steps = store.steps.filter((s) => s.incident === last?.incident && last.phase !== "verified" && (s === last || s.phase !== "started"));
	return check && el("small", {}, join(!check.ok && check.message, ...steps.reverse().map((s) => s.action + " " + s.phase.replace("_", " "))));
}

function firing(store) {
	const list = store.firing();
	get("firing").hidden = !list.length;
	return list.slice(0, 12).map((a) => el("div", { class: "alarm " + a.severity }, alarm(a), el("p", {}, a.summary || a.rule, evidence(store, a.labels.check)), el("span", {}, a.rule, " · since ", at(a.fired_at), " · ", ago(a.fired_at, store.now()), a.runbook && /^https?:/.test(a.runbook) && [" · ", el("a", { href: a.runbook, rel: "noreferrer" }, "runbook")])))
		.concat(list.length > 12 ? el("p", { class: "sub" }, `and ${count(list.length - 12)} more firing`) : []);
}

function alerts(store) {
	const pending = [...store.alerts.values()].filter((a) => a.state === "pending").sort((a, b) => rank(b.severity) - rank(a.severity));
	const ended = store.history.filter((a) => a.state !== "pending");
	const now = store.firing().length;
	const parts = [el("p", { class: "sub" }, now ? `${count(now)} firing, listed at the top. ` : "Nothing fires. ", pending.length ? `${count(pending.length)} pending: ` + pending.slice(0, 5).map((a) => a.rule).join(", ") : "")];
	if (!ended.length) return [...parts, ...empty("No alert so far.", "To see one arrive:", "trader-monitor test-alert console")];
	const columns = [
		["Alert", (a) => a.rule],
		["When", (a) => at(a.at)],
		["What", (a) => (a.state === "resolved" ? pill("ok", "resolved") : alarm(a))],
		["Lasted", (a) => (a.state === "resolved" && a.fired_at ? span(a.at - a.fired_at) : none), "n"],
		["Summary", (a) => a.summary, "w wide"],
	];
	return [...parts, table(columns, ended.slice(0, 8)), ended.length > 8 && el("details", {}, el("summary", {}, "Earlier"), table(columns, ended.slice(8, 60)))];
}

function children(store) {
	const channels = store.status?.channels ?? [];
	const hurt = store.children.filter((c) => c.state !== "running" || c.restarts);
	const parts = (list) => list.length > 0 && table([
		["Part", (c) => c.name],
		["State", (c) => pill(OK[c.state] ?? "info", c.state)],
		["", (c) => (c.essential ? "essential" : ""), "w"],
		["Restarts", (c) => count(c.restarts || null), "n"],
		["Since", (c) => at(c.since), "n"],
		["", (c) => join(c.last_cause, c.parked_until && `again at ${clock(c.parked_until)}`), "w wide"],
	], list);
	return [
		parts(hurt),
		el("details", {}, el("summary", {}, `${count(store.children.length)} supervised parts, ${hurt.length ? `${count(hurt.length)} with a history` : "all run"}`), parts(store.children)),
		channels.length > 0 && table([
			["Channel", (c) => [c.name, dim(" " + c.type)]],
			["Breaker", (c) => pill(CLOSED[c.breaker] ?? "info", c.breaker.replace("_", "-"))],
			["To tell", (c) => count(c.due), "n"],
			["Delivered", (c) => ago(c.last_delivered_at, store.now()), "n"],
			["", (c) => c.reason ?? "", "w wide"],
		], channels)];
}

const PARTS = { firing, accounts, positions, trades, exchanges, bots, checks, alerts, children };
