// What the page knows: the feed's messages folded into one state.

const KEPT = 100;

export class Store {
	constructor() {
		this.clear();
	}

	clear() {
		this.status = null;
		this.skew = 0;
		this.series = new Map();
		this.names = new Map();
		this.alerts = new Map();
		this.checks = new Map();
		this.history = [];
		this.steps = [];
		this.trades = [];
		this.children = [];
	}

	/** The monitor's present: its clock counts, not this device's. */
	now() {
		return Date.now() / 1000 + this.skew;
	}

	/** Takes a message; returns the samples in it as [series, seconds, value]. */
	take(message) {
		if (message.type === "snapshot") this.clear();
		if (message.status) {
			this.status = message.status;
			this.skew = message.status.now - Date.now() / 1000;
		}
		for (const [id, labels] of Object.entries(message.series ?? {})) this.#name(+id, labels);
		for (const id of message.gone ?? []) this.#forget(id);
		for (const alert of message.alerts ?? []) {
			if (message.type === "delta") this.#remember(alert);
			this.alerts.set(alert.fingerprint, alert);
		}
		for (const check of message.checks ?? []) this.checks.set(check.name, check);
		if (message.history) this.history = message.history;
		if (message.children) this.children = message.children;
		this.steps = latest(message.steps, this.steps, message.type);
		this.trades = latest(message.trades, this.trades, "delta");
		const fresh = [];
		for (const [id, ms, value] of message.samples ?? []) {
			const series = this.series.get(id);
			if (!series) continue;
			series.t = ms / 1000;
			series.v = value;
			fresh.push([series, series.t, value]);
		}
		return fresh;
	}

	/** The series of a metric that have a value now, and these labels. */
	all(name, labels = {}) {
		const wanted = Object.entries(labels);
		return [...(this.names.get(name)?.values() ?? [])].filter((s) => s.v !== null && s.v !== undefined && wanted.every(([k, v]) => s.labels[k] === v));
	}

	value(name, labels) {
		return this.all(name, labels)[0]?.v;
	}

	firing() {
		return [...this.alerts.values()].filter((alert) => alert.state === "firing").sort((a, b) => rank(b.severity) - rank(a.severity) || a.at - b.at);
	}

	#name(id, labels) {
		const series = { id, labels, t: 0, v: null };
		this.series.set(id, series);
		const name = labels.__name__;
		if (!this.names.has(name)) this.names.set(name, new Map());
		this.names.get(name).set(id, series);
	}

	#forget(id) {
		const series = this.series.get(id);
		this.series.delete(id);
		this.names.get(series?.labels.__name__)?.delete(id);
	}

	#remember(alert) {
		const same = (other) => other.fingerprint === alert.fingerprint && other.transition === alert.transition && other.state === alert.state;
		if (!this.history.some(same)) this.history = [alert, ...this.history].slice(0, KEPT);
	}
}

/** Newest first; a delta lists the oldest first. */
function latest(fresh, kept, type) {
	if (!fresh?.length) return kept;
	return (type === "delta" ? [...fresh].reverse().concat(kept) : fresh).slice(0, KEPT);
}

export const rank = (severity) => ["ok", "info", "warning", "error", "critical", "emergency"].indexOf(severity);
