// The connection to the feed: resumes, comes back by itself, and knows when it is stale.

const SILENCE = 25_000; // the feed says something every 10 s
const FIRST = 500, LONGEST = 15_000;

export class Live extends EventTarget {
	/** Fires "message" (detail: the message), "up" and "down" (detail: { at, retry }), times in milliseconds. */
	constructor(url, topics, token) {
		super();
		this.url = url;
		this.topics = topics;
		this.token = token;
		this.seq = null;
		this.tries = 0;
		this.up = false;
		this.heard = Date.now();
		addEventListener("online", () => this.hurry());
		document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
		setInterval(() => this.#watch(), 1000);
		this.connect();
	}

	connect() {
		clearTimeout(this.timer);
		const query = new URLSearchParams({ topics: this.topics });
		if (this.seq !== null) query.set("resume", this.seq);
		const socket = (this.socket = new WebSocket(`${this.url}?${query}`, this.token ? ["trader-monitor", "bearer." + base64url(this.token)] : []));
		this.began = Date.now();
		socket.onmessage = (event) => socket === this.socket && this.#take(JSON.parse(event.data));
		socket.onclose = () => socket === this.socket && this.#lost();
	}

	/** Tries at once if it waits for the next attempt. */
	hurry() {
		if (!this.up && this.socket.readyState > WebSocket.OPEN) this.connect();
	}

	#take(message) {
		this.heard = Date.now();
		this.tries = 0;
		if (message.seq !== undefined) this.seq = message.seq;
		if (!this.up) {
			this.up = true;
			this.#say("up");
		}
		this.#say("message", message);
	}

	#lost() {
		const wait = Math.min(LONGEST, FIRST * 2 ** this.tries++) * (0.5 + Math.random() / 2);
		this.up = false;
		this.timer = setTimeout(() => this.connect(), wait);
		this.#say("down", { at: this.heard, retry: Date.now() + wait });
	}

	#say(type, detail) {
		this.dispatchEvent(new CustomEvent(type, { detail }));
	}

	/** A connection that died without a word looks open for a long time. */
	#watch() {
		const open = this.socket.readyState <= WebSocket.OPEN;
		if (open && Date.now() - Math.max(this.heard, this.began) > SILENCE) {
			const dead = this.socket;
			this.socket = { readyState: WebSocket.CLOSED };
			dead.close();
			this.#lost();
		}
	}
}

const base64url = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
