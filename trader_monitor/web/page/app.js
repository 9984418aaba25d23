// The page: its door, its feed, and whether all is well.

import { Board } from "./board.js";
import { Charts } from "./charts.js";
import { at, clock, count, el, get, rate, span, tick, zone } from "./format.js";
import { Live } from "./live.js";
import { Store } from "./store.js";

const TOPICS = "alerts,checks,trades,children," + ["account", "pnl", "trade", "trades", "position", "host", "exchange", "market", "heartbeat"].map((f) => "metrics." + f).join();
const WORDS = { ok: "All well", warning: "Warning", error: "Error", critical: "Critical", emergency: "Emergency", stale: "No contact" };
const SIGNS = { ok: "●", warning: "▲", error: "◆", critical: "⬣", emergency: "■", stale: "○" };
const INKS = { ok: "#17a567", warning: "#f0b429", error: "#e8590c", critical: "#d6281f", emergency: "#b0188f", stale: "#8b97a5" };
const REDRAW = 250;

const store = new Store();
const board = new Board(store);
let token = sessionStorage.getItem("token");
let charts, feed, down = null, redraw = 0, said = "";

async function ask(path, query) {
	const url = query ? `${path}?${new URLSearchParams(query)}` : path;
	try {
		const answer = await fetch(url, { headers: token ? { Authorization: "Bearer " + token } : {} });
		if (answer.status === 401) return { status: 401 };
		return await answer.json();
	} catch {
		return null; // the feed says so, and asks again
	}
}

async function open() {
	const status = await ask("v1/status");
	if (status?.status === 401) return door();
	get("door").hidden = true;
	if (!status) {
		band("stale", "", "The monitor does not answer. Trying again…");
		return setTimeout(open, 2000);
	}
	store.take({ type: "status", status });
	charts = new Charts(ask, () => store.now(), status.uptime_seconds);
	feed = new Live(address(status.live.address), TOPICS, token);
	feed.addEventListener("message", ({ detail }) => take(detail));
	feed.addEventListener("up", () => ((down = null), later()));
	feed.addEventListener("down", ({ detail }) => ((down = detail), later()));
	setInterval(clockwork, 1000);
	later();
}

/** The feed as this browser reaches it. */
function address(listen) {
	if (location.protocol === "https:") return `wss://${location.host}/live`;
	return `ws://${location.hostname}:${listen.split(":").pop()}/`;
}

function door() {
	get("door").hidden = false;
	get("refused").textContent = token ? "That token is not known here." : "";
	band("stale", "", "A token opens this page.");
	get("token").focus();
	get("door").onsubmit = (event) => {
		event.preventDefault();
		token = get("token").value.trim();
		sessionStorage.setItem("token", token);
		open();
	};
}

function take(message) {
	const samples = store.take(message);
	charts.extend(samples);
	if (message.type === "snapshot") charts.load();
	for (const alert of message.type === "delta" ? (message.alerts ?? []) : []) tell(alert);
	later();
	charts.draw();
}

/** Alerts are spoken once, as they come. */
function tell(alert) {
	if (alert.state === "pending") return;
	const text = alert.state === "firing" ? `${alert.severity} alert: ${alert.summary || alert.rule}` : `Resolved: ${alert.rule}`;
	get("tell").replaceChildren(el("p", {}, text));
}

function later() {
	redraw ||= setTimeout(() => {
		redraw = 0;
		state();
		board.draw();
		charts.choose(board.account);
		vitals();
	}, REDRAW);
}

/** Whether all is well, and since when: in words, colour, shape. */
function state() {
	const { status } = store;
	document.body.classList.toggle("away", !!down);
	if (down) {
		const was = status ? `Last known: ${WORDS[status.state].toLowerCase()}. ` : "";
		const wait = Math.max(0, Math.ceil((down.retry - Date.now()) / 1000));
		return band("stale", "", [`Since ${clock(down.at / 1000, true)}, for ${span(Math.max(1, Math.round((Date.now() - down.at) / 1000)))}. ${was}`, wait ? `Trying again in ${wait} s.` : "Trying…"]);
	}
	if (!status) return null;
	const since = ["since ", at(status.since, false), ` · ${span(Math.round(store.now() - status.since))}`, status.others > 0 ? ` · and ${count(status.others)} more` : status.ingest.events_total + store.checks.size ? "" : " · no bot and no check reports yet"];
	return band(status.state, status.state === "ok" ? "" : status.headline, since);
}

function band(state, headline, since) {
	const look = state + headline;
	get("since").replaceChildren(...[since].flat());
	if (look === said) return;
	said = look;
	get("band").dataset.state = state;
	get("shape").setAttribute("href", "#s-" + state);
	get("word").textContent = WORDS[state] + (headline ? ":" : "");
	get("headline").textContent = headline;
	document.title = `${SIGNS[state]} ${WORDS[state]}${headline ? ": " + headline : ""} – trader-monitor`;
	get("icon").href = "data:image/svg+xml," + encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="-5 -5 58 58" fill="none" stroke="${INKS[state]}" stroke-width="7" stroke-linecap="round" stroke-linejoin="round">${get("s-" + state).innerHTML}</svg>`);
}

function vitals() {
	const { status } = store;
	if (!status) return;
	const now = store.now();
	const checks = [...store.checks.values()];
	const rows = [
		[down ? "Stale" : "Live", clock(now, true) + " " + zone()],
		["Events", `${count(status.ingest.events_total)} · ${rate(status.ingest.per_second)}/s`],
		["Checks passing", `${checks.filter((c) => c.ok).length} of ${checks.length}`],
		["Up", span(now - status.started_at)],
	];
	get("vitals").replaceChildren(...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
	get("foot").textContent = `trader-monitor ${status.version} · store ${status.store.degraded ?? "sound"} at fact ${count(status.store.seq)} · times are ${zone()}${zone() === "UTC" ? "" : ", UTC on hover"}`;
}

let drawn = 0;
function clockwork() {
	if (document.hidden) return;
	tick(store.now());
	state();
	vitals();
	// The present moves by a pixel every so often.
	if (charts.view.end === null && Date.now() - drawn > Math.max(1000, charts.view.span)) {
		drawn = Date.now();
		charts.draw(true);
	}
}

open();
