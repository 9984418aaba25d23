// The figures: one table for each subject, every row with its interval, its sample size and its convention.

import { amount, at, count, dim, el, factor, get, key, money, none, percent, span } from "./format.js";

const EVERY = 15000;
const ROOMS = { accounts: "Accounts", trades: "Closed trades", exchanges: "Execution and exchanges", agents: "Agents", models: "Models" };
const SUBJECT = ["source", "account", "currency", "exchange", "endpoint", "scope", "symbol", "channel", "model", "version", "feature"];
const PLAIN = /sharpe|sortino|calmar|profit_factor|leverage|lateness|herfindahl|positions$|streak|in_row|psi$|statistic$|p_value$|score$|severity$/;
const WORDS = { pnl: "P&L", var: "VaR", cvar: "CVaR", cagr: "CAGR", psi: "PSI", ks: "KS", f1: "F1", roc: "ROC", auc: "AUC", fifo: "FIFO", p: "p" };
const SAID = /^(account|exchange|market_data|agent|model|round_trip)_/; // by the room
const DROPPED = new Set(["ratio", "seconds", "total"]);

let token = sessionStorage.getItem("token");
let all = [], room = location.hash.slice(1).split("/")[0], subject = null, drawn = "";

async function load() {
	let answer;
	try {
		answer = await fetch("v1/figures", { headers: token ? { Authorization: "Bearer " + token } : {} });
	} catch {
		get("foot").textContent = "The monitor does not answer. Trying again…";
		return setTimeout(load, 2000);
	}
	if (answer.status === 401) return door();
	get("door").hidden = true;
	if (answer.ok) {
		const told = await answer.json();
		all = told.figures;
		draw();
		get("foot").replaceChildren(el("p", {}, `${count(all.length)} figures, `, at(told.at)));
	}
	return setTimeout(load, EVERY);
}

function door() {
	get("door").hidden = false;
	get("refused").textContent = token ? "That token is not known here." : "";
	get("token").focus();
	get("door").onsubmit = (event) => {
		event.preventDefault();
		token = get("token").value.trim();
		sessionStorage.setItem("token", token);
		load();
	};
}

const about = (figure) => key(figure.labels, SUBJECT);
const named = (figure) => SUBJECT.map((name) => figure.labels[name]).filter(Boolean).join(" · ") || "all";

/** "account_daily_return_best_ratio" as words; the unit is at the value. */
function title(name) {
	const text = name.replace(SAID, "").split("_").filter((word) => !DROPPED.has(word)).map((word) => WORDS[word] ?? word).join(" ") || name;
	return text[0].toUpperCase() + text.slice(1);
}

function shown(figure, value) {
	const { name, labels } = figure;
	if (value === null || value === undefined) return none;
	if (name.endsWith("_timestamp_seconds")) return at(value);
	if (name.endsWith("_seconds")) return span(value);
	if (PLAIN.test(name)) return factor(value);
	if (name.endsWith("_ratio")) return percent(value);
	return labels.currency ? money(value, labels.currency) : amount(value);
}

/** Where the value lies in its interval, on a line that has room for nought. */
function whisker({ value, interval }) {
	if (!interval) return null;
	const low = Math.min(interval.low, value, 0), high = Math.max(interval.high, value, 0), width = high - low || 1;
	const x = (v) => 2 + (96 * (v - low)) / width;
	const ns = "http://www.w3.org/2000/svg";
	const draw = (tag, attributes) => {
		const it = document.createElementNS(ns, tag);
		for (const [name, v] of Object.entries(attributes)) it.setAttribute(name, v);
		return it;
	};
	const svg = draw("svg", { viewBox: "0 0 100 12", class: "whisker", "aria-hidden": "true" });
	svg.append(draw("path", { d: `M${x(0)} 0V12`, class: "nought" }), draw("path", { d: `M${x(interval.low)} 3V9M${x(interval.low)} 6H${x(interval.high)}M${x(interval.high)} 3V9` }), draw("circle", { cx: x(value), cy: 6, r: 2.6 }));
	return svg;
}

function row(figure) {
	const how = Object.entries(figure.labels).filter(([name]) => !SUBJECT.includes(name)).map(([name, value]) => (name === "confidence" ? `${+value * 100} %` : name === "annualisation" ? `${value} days a year` : value.replace("_", " ")));
	const more = figure.interval ? `${figure.convention}. Interval: ${figure.interval.method}.` : `${figure.convention}.${figure.why_no_interval ? ` No interval: ${figure.why_no_interval}.` : ""}`;
	const { interval } = figure;
	const head = el("td", {}, el("details", { "data-id": figure.name + key(figure.labels) }, el("summary", {}, title(figure.name), how.length > 0 && dim(" " + how.join(", "))), el("p", {}, more, " ", el("code", {}, figure.name))));
	if (figure.value === null) return el("tr", { class: "missing" }, head, el("td", { class: "n" }, none), el("td", { colspan: 2, class: "w" }, figure.reason), el("td", { class: "n", "data-h": "n" }, count(figure.n)));
	return el("tr", {}, head,
		el("td", { class: "n" }, shown(figure, figure.value)),
		el("td", { class: "n w" }, interval ? [shown(figure, interval.low), " … ", shown(figure, interval.high)] : ""),
		el("td", {}, whisker(figure) ?? ""),
		el("td", { class: "n", "data-h": "n" }, count(figure.n)));
}

function buttons(target, names, chosen, choose) {
	get(target).replaceChildren(...(names.length > 1 ? names : []).map(([id, text]) => {
		const button = el("button", { type: "button", "aria-pressed": id === chosen }, text);
		button.onclick = () => (choose(id), draw());
		return button;
	}));
}

function draw() {
	const rooms = [...new Set(all.map((figure) => figure.room))];
	if (!rooms.length) {
		get("figures").replaceChildren(el("p", { class: "empty" }, el("b", {}, "No figure yet."), " They come with what bots report: accounts, trades, orders, requests, decisions, predictions."));
		return;
	}
	if (!rooms.includes(room)) room = rooms[0];
	const subjects = new Map();
	for (const figure of all) if (figure.room === room) subjects.set(about(figure), [...(subjects.get(about(figure)) ?? []), figure]);
	if (subject !== null && !subjects.has(subject)) subject = null;
	const many = subjects.size > 8;
	if (many && subject === null) subject = subjects.keys().next().value;
	const list = [...subjects].map(([id, figures]) => [id, named(figures[0])]);
	buttons("rooms", rooms.map((name) => [name, ROOMS[name] ?? name]), room, (id) => ((room = id), (subject = null), history.replaceState(null, "", "#" + id)));
	chooser(many ? list : []);
	const parts = [...subjects].filter(([id]) => subject === null || id === subject).map(([, figures]) => el("section", { class: "card" }, el("h2", {}, named(figures[0])), el("div", { class: "scroll" }, el("table", { class: "figures fold" },
		el("thead", {}, el("tr", {}, ["Figure", "Value", "95 % interval", "", "n"].map((text, n) => el("th", { scope: "col", class: [1, 2, 4].includes(n) && "n" }, text)))),
		el("tbody", {}, figures.map(row))))));
	const fresh = parts.map((part) => part.innerHTML).join();
	if (fresh === drawn) return;
	drawn = fresh;
	const open = new Set([...document.querySelectorAll("details[open]")].map((it) => it.dataset.id));
	get("figures").replaceChildren(...parts);
	for (const it of document.querySelectorAll("details")) it.open = open.has(it.dataset.id);
}

/** Where there are many subjects, one of them is chosen from a list. */
function chooser(list) {
	const target = get("subjects");
	if (!list.length) return target.replaceChildren();
	if (target.dataset.list === JSON.stringify(list) && target.firstChild) return null;
	target.dataset.list = JSON.stringify(list);
	const select = el("select", { "aria-label": "Of what" }, list.map(([id, text]) => el("option", { value: id }, text)));
	select.value = subject;
	select.onchange = () => ((subject = select.value), draw());
	return target.replaceChildren(select);
}

load();
