// Requests to the server, and its events.

import { complain, part, sentence } from "./dom.js";

const BASE = "app/api/";
const AGAIN_MS = 2000;

export const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value));
export const talkOf = (id, path = "") => `conversations/${part(id)}${path}`;

const refusal = (status, detail) => Object.assign(new Error(detail), { status });

/** What is thrown is for the person. */
export async function api(path, method = "GET", body = undefined) {
	const headers = body ? { "Content-Type": "application/json" } : {};
	const answer = await fetch(BASE + path, { method, headers, body: JSON.stringify(body) }).catch(() => { throw refusal(0, sentence("no-server")); });
	const told = await answer.json().catch(() => null);
	if (answer.ok) return told ?? true;
	if (answer.status === 401 && path !== "session") dispatchEvent(new Event("signed-out"));
	throw refusal(answer.status, told?.detail ?? sentence("server-failed", answer.status));
}

export const attempt = (...request) => api(...request).catch(({ status, message }) => { if (status !== 401) complain(message); });

/** Listen over dropped networks; `ended` hears that there is nothing now. Returns how to stop. */
export function listen(path, { take, ended }) {
	const source = new EventSource(BASE + path);
	let timer;
	source.onmessage = (message) => take(JSON.parse(message.data), Number(message.lastEventId));
	source.onerror = () => {
		if (source.readyState === EventSource.CLOSED) timer = setTimeout(ended, AGAIN_MS);
	};
	return () => {
		clearTimeout(timer);
		source.close();
	};
}
