// A line chart on a canvas: crosshair, zoom, gaps where there is no data.

import { axis, clock, el, zone } from "./format.js";

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600];
const BOTTOM = 20, TOP = 8, SHORTEST = 10;

/** What all charts share: the time shown, and the one pointed at. */
export class View extends EventTarget {
	constructor(now, span = 3600) {
		super();
		this.now = now;
		this.span = span;
		this.end = null; // null follows the present
		this.cursor = null;
	}
	get to() {
		return this.end ?? this.now();
	}
	get from() {
		return this.to - this.span;
	}
	show(from, to, follow = false) {
		const now = this.now();
		this.span = Math.min(Math.max(to - from, SHORTEST), 366 * 86400);
		this.end = follow || to >= now ? null : to;
		this.dispatchEvent(new Event("range"));
	}
	zoom(factor, center) {
		const at = center ?? this.to;
		this.show(at - (at - this.from) * factor, at + (this.to - at) * factor);
	}
	point(t) {
		if (t === this.cursor) return;
		this.cursor = t;
		this.dispatchEvent(new Event("cursor"));
	}
}

let ink = null;
/** The theme's colours, read once. */
function colors() {
	if (!ink) {
		const style = getComputedStyle(document.documentElement);
		const read = (name) => style.getPropertyValue(name).trim();
		ink = { lines: [0, 1, 2, 3].map((n) => read("--c" + n)), grid: read("--grid"), soft: read("--soft"), text: read("--text") };
	}
	return ink;
}
matchMedia("(prefers-color-scheme:light)").addEventListener("change", () => (ink = null));

export class Chart {
	/** The axis always holds `floor` and `ceiling`; `area` fills below. */
	constructor(view, { title, format, height, floor, ceiling, area }) {
		Object.assign(this, { view, title, format, floor, ceiling, area, lines: [], dirty: true, left: 0 });
		this.canvas = el("canvas", { class: height, tabindex: 0, role: "img" });
		this.caption = el("figcaption", {}, el("h3", {}, title));
		this.element = el("figure", {}, this.caption, this.canvas);
		this.brush = this.canvas.getContext("2d");
		view.addEventListener("cursor", () => ((this.dirty = true), this.legend()));
		new ResizeObserver(() => this.fit()).observe(this.canvas);
		this.#listen();
	}

	/** `lines`: [{ name, t: [seconds], v: [value or NaN] }], in ascending time. */
	set(lines) {
		this.lines = lines.slice(0, 4);
		this.hidden = lines.length - this.lines.length;
		this.dirty = true;
		this.legend();
	}

	fit() {
		const ratio = devicePixelRatio || 1;
		this.width = this.canvas.clientWidth;
		this.height = this.canvas.clientHeight;
		this.canvas.width = Math.round(this.width * ratio);
		this.canvas.height = Math.round(this.height * ratio);
		this.brush.setTransform(ratio, 0, 0, ratio, 0, 0);
		this.draw();
	}

	/** A line's value at a time: the newest sample, if not too old. */
	#value(line, t) {
		const at = upper(line.t, t) - 1;
		if (at < 0) return null;
		const v = line.v[at];
		return Number.isNaN(v) || t - line.t[at] > Math.max(300, this.view.span / 100) ? null : v;
	}

	legend() {
		const { view } = this, t = view.cursor ?? (view.end === null ? view.to + 1 : view.to); // clocks differ a little
		const read = this.lines.map((line) => [line.name, this.format(this.#value(line, t))]);
		const keys = read.map(([name, text], n) => el("span", { class: "key k" + n }, el("i"), name, el("b", {}, text)));
		for (const text of [this.hidden > 0 && `and ${this.hidden} more`, view.cursor !== null && clock(t, true)]) if (text) keys.push(el("span", { class: "key" }, text));
		this.caption.replaceChildren(this.caption.firstChild, ...keys);
		this.canvas.setAttribute("aria-label", `${this.title} at ${clock(t, true)} ${zone()}: ${read.map((pair) => pair.join(" ")).join(", ") || "no data"}. Arrow keys read, plus and minus zoom, Escape returns.`);
	}

	#scale(from, to) {
		let low = Infinity, high = -Infinity;
		for (const { t, v } of this.lines) {
			for (let i = Math.max(0, upper(t, from) - 1); i < t.length && (t[i - 1] ?? 0) <= to; i++) {
				if (v[i] < low) low = v[i];
				if (v[i] > high) high = v[i];
			}
		}
		if (low > high) return null;
		low = Math.min(low, this.floor ?? low);
		high = Math.max(high, this.ceiling ?? high);
		if (high - low < 1e-9 * Math.max(1, Math.abs(high))) {
			const room = Math.abs(high) * 0.005 || 1;
			low = this.floor === low ? low : low - room;
			high += room;
		}
		const step = nice((high - low) / (this.height > 180 ? 4 : 3));
		low = Math.floor(low / step + 1e-9);
		high = Math.ceil(high / step - 1e-9);
		const labels = Array.from({ length: high - low + 1 }, (_, n) => [(low + n) * step, this.format((low + n) * step, step)]);
		return { low: low * step, high: high * step, labels };
	}

	draw() {
		this.dirty = false;
		const { brush: g, width, height, view } = this;
		if (!width) return;
		const { from, to } = view, ink = colors();
		g.clearRect(0, 0, width, height);
		g.font = "11px system-ui,sans-serif";
		g.lineWidth = 1;
		const bottom = height - BOTTOM;
		const scale = this.#scale(from, to);
		const left = (this.left = scale ? Math.ceil(Math.max(...scale.labels.map(([, text]) => g.measureText(text).width))) + 8 : 0);
		const x = (t) => left + ((t - from) / (to - from)) * (width - left);
		this.#times(g, ink, from, to, x, bottom);
		if (!scale) return g.fillText("No data in this time", width / 2, bottom / 2 + TOP);
		const y = (v) => bottom - ((v - scale.low) / (scale.high - scale.low)) * (bottom - TOP);
		this.#levels(g, ink, scale, y);
		this.lines.forEach((line, n) => this.#line(g, line, ink.lines[n], x, y, from, to, bottom));
		if (this.drag) {
			g.globalAlpha = 0.18;
			g.fillStyle = ink.text;
			g.fillRect(Math.min(this.drag.x, this.drag.to), TOP, Math.abs(this.drag.to - this.drag.x), bottom - TOP);
			g.globalAlpha = 1;
		}
		if (view.cursor !== null && view.cursor >= from && view.cursor <= to) this.#cross(g, ink, x, y, bottom);
	}

	#times(g, ink, from, to, x, bottom) {
		const step = STEPS.find((s) => ((to - from) / s) * 84 < this.width - this.left) ?? 2419200;
		const offset = new Date(to * 1000).getTimezoneOffset() * 60;
		g.fillStyle = ink.soft;
		g.textAlign = "center";
		g.textBaseline = "alphabetic";
		for (let t = Math.ceil((from - offset) / step) * step + offset; t <= to; t += step) {
			const at = x(t);
			if (at > this.left + 14 && at < this.width - 18) g.fillText(axis(t, step), at, bottom + 15);
		}
	}

	#levels(g, ink, { labels }, y) {
		g.strokeStyle = ink.grid;
		g.textAlign = "right";
		g.beginPath();
		for (const [v, text] of labels) {
			const at = Math.round(y(v)) + 0.5;
			g.moveTo(this.left, at);
			g.lineTo(this.width, at);
			g.fillText(text, this.left - 6, at + 3.5);
		}
		g.stroke();
	}

	#line(g, { t, v }, color, x, y, from, to, bottom) {
		g.strokeStyle = g.fillStyle = color;
		g.lineWidth = 1.6;
		g.lineJoin = "round";
		const now = Math.min(to, this.view.now()), base = Math.min(Math.max(y(0), TOP), bottom);
		g.save();
		g.beginPath();
		g.rect(this.left, 0, this.width, bottom);
		g.clip();
		let run = [];
		const shut = () => {
			if (!run.length) return;
			if (run.length === 1) run.push([run[0][0] + 1.6, run[0][1]]);
			g.beginPath();
			for (const [a, b] of run) g.lineTo(a, b);
			g.stroke();
			if (this.area) {
				g.lineTo(run[run.length - 1][0], base);
				g.lineTo(run[0][0], base);
				g.globalAlpha = 0.12;
				g.fill();
				g.globalAlpha = 1;
			}
			run = [];
		};
		for (let i = Math.max(0, upper(t, from) - 1); i < t.length; i++) {
			if (Number.isNaN(v[i])) shut();
			else run.push([x(t[i]), y(v[i])]);
			if (t[i] > to) break;
			if (i === t.length - 1 && run.length && now > t[i] && now - t[i] < 300) run.push([x(now), y(v[i])]);
		}
		shut();
		g.restore();
	}

	#cross(g, ink, x, y, bottom) {
		const t = this.view.cursor, at = Math.round(x(t)) + 0.5;
		g.strokeStyle = ink.soft;
		g.lineWidth = 1;
		g.beginPath();
		g.moveTo(at, TOP);
		g.lineTo(at, bottom);
		g.stroke();
		this.lines.forEach((line, n) => {
			const v = this.#value(line, t);
			if (v === null) return;
			g.fillStyle = ink.lines[n];
			g.beginPath();
			g.arc(at, y(v), 3.5, 0, 7);
			g.fill();
		});
	}

	#listen() {
		const { canvas, view } = this, on = canvas.addEventListener.bind(canvas);
		const place = (event) => Math.max(this.left, event.clientX - canvas.getBoundingClientRect().left);
		const time = (event) => view.from + ((place(event) - this.left) / (this.width - this.left)) * view.span;
		const fingers = new Map();
		on("pointerdown", (event) => {
			fingers.set(event.pointerId, event.clientX);
			canvas.setPointerCapture(event.pointerId);
			if (fingers.size === 2) this.pinch = { gap: gap(fingers), span: view.span, center: view.cursor ?? time(event) };
			this.drag = event.pointerType === "mouse" && event.button === 0 ? { x: place(event), to: place(event), t: time(event) } : null;
		});
		on("pointermove", (event) => {
			if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event.clientX);
			if (fingers.size === 2) return view.zoom((this.pinch.span * this.pinch.gap) / Math.max(gap(fingers), 8) / view.span, this.pinch.center);
			if (this.drag) this.drag.to = place(event);
			this.dirty = true;
			view.point(time(event));
		});
		const up = (event) => {
			fingers.delete(event.pointerId);
			const drag = this.drag;
			this.drag = null;
			this.dirty = true;
			if (drag && event.type === "pointerup" && Math.abs(drag.to - drag.x) > 6) {
				const t = time(event);
				view.show(Math.min(drag.t, t), Math.max(drag.t, t));
			}
		};
		on("pointerup", up);
		on("pointercancel", up);
		on("pointerleave", () => view.point(null));
		const home = () => view.show(view.now() - view.span, view.now(), true);
		on("dblclick", home);
		on("wheel", (event) => {
			if (!event.ctrlKey && !event.metaKey && document.activeElement !== canvas) return; // the page scrolls
			event.preventDefault();
			view.zoom(event.deltaY > 0 ? 1.25 : 0.8, view.cursor);
		}, { passive: false });
		on("keydown", (event) => {
			const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
			if (move) view.point(Math.min(view.to, Math.max(view.from, (view.cursor ?? view.to) + (move * view.span) / (event.shiftKey ? 10 : 120))));
			else if (event.key === "+" || event.key === "=") view.zoom(0.5, view.cursor);
			else if (event.key === "-") view.zoom(2, view.cursor);
			else if (event.key === "Escape") view.point(null), home();
			else return;
			event.preventDefault();
		});
		on("blur", () => view.point(null));
	}
}

const gap = (fingers) => Math.abs([...fingers.values()].reduce((a, b) => a - b));

/** How many of the ascending `times` are not after `t`. */
export function upper(times, t) {
	let low = 0, high = times.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (times[middle] <= t) low = middle + 1;
		else high = middle;
	}
	return low;
}

/** 1, 2 or 5 times a power of ten, at least `raw`. */
function nice(raw) {
	const power = 10 ** Math.floor(Math.log10(raw));
	return [1, 2, 5, 10].map((n) => n * power).find((step) => step >= raw * 0.999);
}
