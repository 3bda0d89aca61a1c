// The lists: Done, Agreed, Remembered, Planned.

import { attempt, query } from "./api.js";
import { brief, count, exact, moment, part, sentence, stamp, sure, took, visible } from "./dom.js";

const PAGE = 50;

export function done({ role }) {
	const { node, filters, person, csv, rows, more } = stamp("done");
	if (role !== "admin") person.remove();
	const load = async (before) => {
		const wanted = Object.fromEntries(new FormData(filters));
		csv.href = `app/api/audit.csv?${query(wanted)}`;
		const found = await attempt(`audit?${query({ ...wanted, before, limit: PAGE })}`);
		if (!found) return;
		if (!before) rows.replaceChildren();
		rows.append(...found.map(record));
		more.hidden = found.length < PAGE;
		more.onclick = () => load(found.at(-1).id);
	};
	filters.onchange = () => load();
	load();
	return node;
}

function record(row) {
	const decided = [row.decision ?? "not asked", row.decided_by && `by ${row.decided_by}`, moment(row.decided_at)];
	const parts = stamp("record", {
		talk: row.thread, status: row.status, tool: row.tool, brief: brief(row.args) || " ", when: moment(row.started_at ?? row.decided_at), args: exact(row.args), decision: decided.filter(Boolean).join(" "), user: row.user,
		model: row.model ?? "unknown", took: took(row.duration_ms) || "unknown", result: row.result_sha256 ? `${count(row.result_size, "character")}, SHA-256 ${row.result_sha256}` : "none",
	});
	parts.status.classList.add(row.status);
	return parts.node;
}

function kept({ text, facts }, { label, question, path, isEditable, change }, load) {
	const parts = stamp("kept", { text: !isEditable && text, facts, remove: label });
	const { input, save } = parts;
	save.onclick = async () => { if (await attempt(path, "PATCH", change ? change[1] : { text: input.value })) load(); };
	if (change) [save.textContent, save.hidden] = [change[0], false];
	if (isEditable) {
		input.value = text;
		input.oninput = () => { save.hidden = false; };
	} else input.remove();
	parts.remove.onclick = async () => { if ((await sure(question, label)) && (await attempt(path, "DELETE"))) load(); };
	return parts.node;
}

/** A view of lists: where each is from, what can be done with a row. */
const view = (name, lists) => () => {
	const parts = stamp(name);
	const load = () => Object.entries(lists).forEach(async ([list, [path, can]]) => {
		const found = await attempt(path);
		if (found) parts[list].replaceChildren(...found.map((row) => kept(row, can(row), load)));
	});
	load();
	return parts.node;
};

export const agreed = view("agreed", {
	rules: ["rules", ({ id, tool }) => ({ label: "Revoke", question: sentence("revoke-rule", tool), path: `rules/${part(id)}` })],
	pins: ["pins", ({ server, tool }) => ({ label: "Revoke", question: sentence("revoke-pin", tool), path: `pins/${part(server)}/${part(tool)}` })],
});

export const remembered = view("remembered", {
	rows: ["memories", ({ id, text }) => ({ label: "Forget", question: sentence("forget-memory", visible(text)), path: `memories/${part(id)}`, isEditable: true })],
});

const CHANGES = { active: ["Pause", { status: "paused" }], paused: ["Resume", { status: "active" }] };
export const planned = view("planned", {
	rows: ["planned", ({ id, text, status, end }) => ({ label: end, question: sentence("end-planned", visible(text)), path: `planned/${part(id)}`, change: CHANGES[status] })],
});
