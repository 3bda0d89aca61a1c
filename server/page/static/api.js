// Requests to the server, and its events.

import { complain } from "./dom.js";

const BASE = new URL("../api/", import.meta.url).href;
const AGAIN_MS = 2000;
const AWAY = "The server cannot be reached. What you typed is still here; try again in a moment.";

export const address = (path, filters) => `${BASE + path}?${query(filters)}`;
export const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value));
export const part = encodeURIComponent;
export const talkOf = (id, path = "") => `conversations/${part(id)}${path}`;

/** What the server refuses; the message is for the person. */
export class Refusal extends Error {
	constructor(status, detail) {
		super(detail);
		this.status = status;
	}
}

/** Ask the server; a sign-in that has ended brings the form back. */
export async function api(path, method = "GET", body = undefined) {
	const headers = body ? { "Content-Type": "application/json" } : {};
	const answer = await fetch(BASE + path, { method, headers, body: JSON.stringify(body) }).catch(() => { throw new Refusal(0, AWAY); });
	const told = await answer.json().catch(() => null);
	if (answer.ok) return told ?? true;
	if (answer.status === 401 && path !== "session") dispatchEvent(new Event("signed-out"));
	const wait = answer.headers.get("Retry-After");
	throw new Refusal(answer.status, `${told?.detail ?? `The server answered with ${answer.status}; its log says why.`}${wait ? ` Wait ${wait} s.` : ""}`);
}

/** Ask the server, and show why where it refuses; undefined then. */
export async function attempt(...request) {
	try {
		return await api(...request);
	} catch (error) {
		if (error.status !== 401) complain(error.message);
		return undefined;
	}
}

/** Listens to a stream of events until it is closed, over dropped networks; `ended` where there is no such stream now. */
export class Listener {
	constructor(path, { take, ended, opened }) {
		this.source = new EventSource(BASE + path);
		this.source.onmessage = (message) => take(JSON.parse(message.data), Number(message.lastEventId));
		this.source.onopen = () => opened?.();
		this.source.onerror = () => {
			if (this.source.readyState === EventSource.CLOSED) this.timer = setTimeout(ended, AGAIN_MS); // else the browser tries anew
		};
	}

	close() {
		clearTimeout(this.timer);
		this.source.close();
	}
}
