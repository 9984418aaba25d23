// Which charts there are, and where their lines come from.

import { Chart, View, upper } from "./chart.js";
import { bytes, count, el, get, join, key, money, percent, span } from "./format.js";

const RANGES = [["5 min", 300], ["15 min", 900], ["1 h", 3600], ["6 h", 21600], ["24 h", 86400], ["7 d", 604800]];
const POINTS = 600, MOST = 3000, LOOKBACK = 300, AGAIN = 15_000;

const cash = (v, step) => (step >= 1 ? count(v) : money(v));
const share = (v, step) => percent(v, step === undefined ? 2 : step >= 0.01 ? 0 : step >= 0.001 ? 1 : 2);

const named = (metric, name) => `label_replace(sum(rate(${metric}[1m])),"d","${name}","","")`;
const both = (a, name, b, other) => `${named(a, name)} or ${named(b, other)}`;

const desk = { account: true, name: (l) => join(l.source, l.account), format: cash };
const full = { format: (v, step) => percent(v, step === undefined ? 1 : 0), floor: 0, ceiling: 1 };
const flow = { name: (l) => l.d, format: (v) => bytes(v, "/s"), floor: 0 };

/** `live` names the metric that the feed carries on; a chart without is asked for again. */
const PANELS = {
"desk-charts": [
	{ ...desk, title: "Equity", live: "account_equity", height: "tall", area: true },
	{ ...desk, title: "Drawdown from the peak", live: "account_drawdown_ratio", format: share, height: "low", floor: 0, area: true },
	{ ...desk, title: "Realised P&L, net of fees", live: "pnl_realized", height: "low" },
],
"host-charts": [
	{ ...full, title: "Processor", live: "host_cpu_usage_ratio", name: () => "in use", area: true },
	{ ...full, title: "Memory", query: '{__name__=~"host_(memory|swap)_usage_ratio"}', name: (l) => (/swap/.test(l.__name__) ? "swap" : "memory") },
	{ ...flow, title: "Disk", query: both("host_disk_read_bytes_total", "read", "host_disk_written_bytes_total", "write") },
	{ ...flow, title: "Network", query: both('host_network_receive_bytes_total{interface!="lo"}', "in", 'host_network_transmit_bytes_total{interface!="lo"}', "out") },
],
"exchange-charts": [
	{ title: "API latency, 95th percentile", query: "histogram_quantile(0.95,sum by(exchange,le)(rate(exchange_request_duration_seconds_bucket[5m])))", name: (l) => l.exchange, format: span, floor: 0, height: "low" },
] };

export class Charts {
	/** `age` is the monitor's: a young one has little to show. */
	constructor(ask, now, age) {
		this.ask = ask;
		this.view = new View(now, RANGES.find(([, span], n) => n === 2 || age < span)[1]);
		this.panels = [];
		for (const [id, specs] of Object.entries(PANELS)) for (const spec of specs) this.#hang(get(id), spec);
		this.#ranges();
		let later;
		this.view.addEventListener("range", () => {
			for (const panel of this.panels) panel.chart.dirty = true;
			clearTimeout(later);
			later = setTimeout(() => this.load(), 120);
			this.#press();
		});
		this.view.addEventListener("cursor", () => this.draw());
		setInterval(() => document.hidden || this.load(true), AGAIN);
		matchMedia("(prefers-color-scheme:light)").addEventListener("change", () => this.draw(true));
	}

	#hang(parent, spec) {
		const chart = new Chart(this.view, spec);
		this.panels.push({ spec, chart, lines: new Map(), asked: 0 });
		parent.append(spec.account ? el("section", { class: "card" }, chart.element) : chart.element);
	}

	#ranges() {
		const nav = get("ranges");
		this.buttons = RANGES.map(([text, seconds]) => {
			const button = el("button", { type: "button" }, text);
			button.onclick = () => this.view.show(this.view.now() - seconds, this.view.now(), true);
			return [button, seconds];
		});
		this.back = el("button", { type: "button", hidden: "" }, "Back to now");
		this.back.onclick = () => this.view.show(this.view.now() - this.view.span, this.view.now(), true);
		nav.append(...this.buttons.map(([button]) => button), this.back, el("span", { class: "note" }, "Drag across a chart to zoom in"));
		this.#press();
	}

	#press() {
		for (const [button, seconds] of this.buttons) button.setAttribute("aria-pressed", this.view.end === null && Math.round(this.view.span) === seconds);
		this.back.hidden = this.view.end === null;
	}

	/** Asks for the history; `only` where the feed does not carry it on. */
	async load(only = false) {
		await Promise.all(this.panels.map((panel) => (only && panel.spec.live && !panel.full ? null : this.#history(panel))));
		this.draw();
	}

	async #history(panel) {
		const { view } = this, asked = ++panel.asked;
		const step = Math.max(1, Math.ceil(view.span / POINTS));
		const start = Math.floor(view.from / step) * step, end = Math.floor(view.end === null ? view.now() : view.to + step);
		const answer = await this.ask("api/v1/query_range", { query: panel.spec.query ?? panel.spec.live, start, end, step });
		if (asked !== panel.asked || answer?.status !== "success") return;
		const before = panel.lines;
		panel.lines = new Map();
		panel.full = false;
		for (const { metric, values } of answer.data.result) panel.lines.set(key(metric), { name: panel.spec.name(metric), labels: metric, ...gaps(values, step) });
		// What the feed told while the history was on its way is newer than the history.
		for (const [id, { name, labels, t, v }] of view.end === null && panel.spec.live ? before : []) {
			const line = panel.lines.get(id) ?? { name, labels, t: [], v: [] };
			for (let i = upper(t, line.t.at(-1) ?? end - step); i < t.length; i++) append(line, t[i], v[i]);
			if (line.t.length) panel.lines.set(id, line);
		}
		this.#show(panel);
	}

	/** The account, as its labels, that the desk's charts show. */
	choose(labels) {
		if (labels === this.account) return;
		this.account = labels;
		for (const panel of this.panels) if (panel.spec.account) this.#show(panel);
		this.draw();
	}

	#show({ spec, chart, lines }) {
		const wanted = Object.entries((spec.account && this.account) || {});
		chart.set([...lines.values()].filter((line) => wanted.every(([k, v]) => line.labels[k] === v)));
	}

	/** The feed's samples: [series, seconds, value or null]. */
	extend(samples) {
		for (const panel of this.panels) {
			if (!panel.spec.live) continue;
			let touched = false;
			for (const [{ labels }, t, v] of samples) {
				if (labels.__name__ !== panel.spec.live) continue;
				const id = key(labels);
				if (!panel.lines.has(id)) panel.lines.set(id, { name: panel.spec.name(labels), labels, t: [], v: [] });
				const line = panel.lines.get(id);
				append(line, t, v === null ? NaN : v);
				panel.full = line.t.length > MOST; // a coarser history replaces it soon
				touched = true;
			}
			if (touched) this.#show(panel);
		}
	}

	draw(all = false) {
		if (this.waiting) {
			this.all ||= all;
			return;
		}
		this.all = all;
		this.waiting = requestAnimationFrame(() => {
			this.waiting = 0;
			for (const { chart } of this.panels) {
				if (this.all) chart.legend();
				if (this.all || chart.dirty) chart.draw();
			}
		});
	}
}

/** A history's values with NaN where steps are missing. */
function gaps(values, step) {
	const line = { t: [], v: [] };
	for (const [t, text] of values) {
		const n = line.t.length;
		if (n && t - line.t[n - 1] > step * 1.5) line.t.push(line.t[n - 1] + step), line.v.push(NaN);
		line.t.push(t);
		line.v.push(Number.isFinite(+text) ? +text : NaN);
	}
	return line;
}

function append(line, t, v) {
	const n = line.t.length;
	if (n && t < line.t[n - 1]) return;
	if (n && t === line.t[n - 1]) {
		line.v[n - 1] = v;
		return;
	}
	if (n && t - line.t[n - 1] > LOOKBACK) line.t.push(line.t[n - 1] + LOOKBACK), line.v.push(NaN);
	line.t.push(t);
	line.v.push(v);
}
