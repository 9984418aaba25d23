// Numbers with units, times with their zone, and elements.

const number = (min, max) => new Intl.NumberFormat(undefined, { minimumFractionDigits: min, maximumFractionDigits: max });
const plain = number(0, 4), two = number(2, 2), three = number(0, 3), short = number(0, 1), whole = number(0, 0);
const sign = (text, v) => (v > 0 ? "+" : "") + text;
const ok = (v) => v !== null && v !== undefined && !Number.isNaN(v);

/** A label set, or some of its labels, as one key. */
export const key = (labels, names = Object.keys(labels).sort()) => JSON.stringify(names.map((n) => [n, labels[n] ?? ""]));

export const none = "–";
export const count = (v) => (ok(v) ? whole.format(v) : none);
export const rate = (v) => short.format(v);
export const amount = (v) => (ok(v) ? plain.format(v) : none);
export const factor = (v) => (ok(v) ? (Number.isFinite(v) ? three.format(v) : "∞") : none);
export const money = (v, currency) => (ok(v) ? two.format(v) + (currency ? " " + currency : "") : none);
export const gain = (v, currency) => (ok(v) ? sign(money(v, currency), v) : none);
export const percent = (v, digits = 2) => (ok(v) ? number(digits, digits).format(v * 100) + " %" : none);
export const mood = (v) => (v > 0 ? "up" : v < 0 ? "down" : "");

export function bytes(v, per = "") {
	if (!ok(v)) return none;
	let unit = 0;
	while (Math.abs(v) >= 1000 && unit < 4) { v /= 1000; unit++; }
	return (Math.abs(v) < 100 ? short : whole).format(v) + " " + ["B", "kB", "MB", "GB", "TB"][unit] + per;
}

/** A duration in the two units that matter. */
export function span(s) {
	if (!ok(s)) return none;
	s = Math.max(0, s);
	if (s && s < 0.9995) return Math.round(s * 1000) + " ms";
	if (s < 10) return short.format(s) + " s";
	if (s < 60) return Math.floor(s) + " s";
	const [m, h, d] = [Math.floor(s / 60), Math.floor(s / 3600), Math.floor(s / 86400)];
	if (m < 60) return m < 10 ? `${m} min ${Math.floor(s % 60)} s` : m + " min";
	if (h < 24) return `${h} h ${m % 60} min`;
	return d < 14 ? `${d} d ${h % 24} h` : d + " d";
}

const hm = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const day = { month: "short", day: "numeric" };
const clocks = {
	minute: new Intl.DateTimeFormat(undefined, hm),
	second: new Intl.DateTimeFormat(undefined, { ...hm, second: "2-digit" }),
	day: new Intl.DateTimeFormat(undefined, day),
	both: new Intl.DateTimeFormat(undefined, { ...day, ...hm }),
};
export const zone = () => new Intl.DateTimeFormat(undefined, { timeZoneName: "short" }).formatToParts(new Date()).find((p) => p.type === "timeZoneName").value;
export const utc = (t) => new Date(t * 1000).toISOString().replace("T", " ").replace(/\.\d+Z/, "") + " UTC";
export const axis = (t, step) => clocks[step >= 86400 ? "day" : step < 60 ? "second" : "minute"].format(t * 1000);

/** "02:14", or with the day. */
export function clock(t, seconds = false) {
	const date = new Date(t * 1000);
	if (date.toDateString() !== new Date().toDateString()) return clocks.both.format(date);
	return clocks[seconds ? "second" : "minute"].format(date);
}

export const join = (...parts) => parts.filter(Boolean).join(" · ");
export const get = (id) => document.getElementById(id);

/** An element: `el("td", { class: "n" }, "text", child…)`; null and false children are left out. */
export function el(tag, attributes, ...children) {
	const it = tag === "svg" || tag === "use" ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
	for (const [key, value] of Object.entries(attributes ?? {})) if (value !== false && value !== undefined) it.setAttribute(key, value);
	it.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
	return it;
}

export const at = (t, seconds = true) => (ok(t) ? el("time", { datetime: new Date(t * 1000).toISOString(), title: utc(t) }, clock(t, seconds)) : none);
export const icon = (state) => el("svg", { "aria-hidden": "true", viewBox: "0 0 48 48" }, el("use", { href: "#s-" + state }));
export const tone = (kind, text) => el("span", { class: kind }, text);
export const dim = (text) => tone("w", text);
export const pill = (state, text) => el("span", { class: "pill " + state }, icon(state === "info" ? "stale" : state), text);

const past = (s) => span(Math.round(s)) + " ago";

/** "3 s ago", kept true by `tick`. */
export function ago(t, now) {
	if (!ok(t)) return none;
	const it = el("span", { class: "ago", "data-ago": t, title: utc(t) });
	it.textContent = past(now - t);
	return it;
}
export function tick(now) {
	for (const it of document.querySelectorAll("[data-ago]")) {
		const text = past(now - it.dataset.ago);
		if (it.textContent !== text) it.textContent = text;
	}
}
