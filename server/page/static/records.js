// Done, Agreed, Remembered, Planned.

import { address, attempt, part, query } from "./api.js";
import { brief, count, exact, moment, stamp, sure, took, visible } from "./dom.js";

const PAGE = 50;

export function doneView({ role }) {
	const { node, filters, person, q, tool, status, user, csv, rows, more, empty } = stamp("done");
	if (role !== "admin") person.remove();
	const load = async (before) => {
		const wanted = { q: q.value, tool: tool.value, status: status.value, user: user.value };
		csv.href = address("audit.csv", wanted);
		const found = await attempt(`audit?${query({ ...wanted, before, limit: PAGE })}`);
		if (!found) return;
		if (!before) rows.replaceChildren();
		rows.append(...found.map(record));
		empty.hidden = rows.childElementCount > 0;
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
		status: row.status, tool: row.tool, brief: brief(row.args) || " ", when: moment(row.started_at ?? row.decided_at), args: exact(row.args), decision: decided.filter(Boolean).join(" "), user: row.user,
		model: row.model ?? "unknown", took: took(row.duration_ms) || "unknown", result: row.result_sha256 ? `${count(row.result_size, "character")}, SHA-256 ${row.result_sha256}` : "none",
	});
	parts.status.classList.add(row.status);
	parts.link.href = `#talk/${part(row.thread)}`;
	return parts.node;
}

function kept(text, facts, { label, question, path, load, isEditable, change }) {
	const parts = stamp("kept", { text: !isEditable && text, facts: facts.filter(Boolean).join(" · "), remove: label });
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

const view = (name, show) => () => {
	const parts = stamp(name);
	const load = () => show(parts, load);
	load();
	return parts.node;
};

async function fill(rows, empty, path, row) {
	const found = await attempt(path);
	rows.replaceChildren(...(found ?? []).map(row));
	empty.hidden = !found || found.length > 0;
}

export const agreedView = view("agreed", ({ rules, norules, pins, nopins }, load) => {
	const label = "Revoke";
	fill(rules, norules, "rules", ({ id, tool, text, facts }) => kept(text, facts, { label, question: `Ask again before each such call of ${tool}?`, path: `rules/${part(id)}`, load }));
	fill(pins, nopins, "pins", ({ server, tool, text, facts }) => kept(text, facts, { label, question: `Forget what was agreed of ${tool}?`, path: `pins/${part(server)}/${part(tool)}`, load }));
});

export const rememberedView = view("remembered", ({ rows, empty }, load) => {
	fill(rows, empty, "memories", ({ id, text, facts }) => kept(text, facts, { label: "Forget", question: `Forget “${visible(text)}”?`, path: `memories/${part(id)}`, load, isEditable: true }));
});

export const plannedView = view("planned", ({ rows, empty }, load) => {
	const changes = { active: ["Pause", { status: "paused" }], paused: ["Resume", { status: "active" }] };
	fill(rows, empty, "planned", ({ id, text, facts, status, end }) => kept(text, facts, { label: end, question: `No longer “${visible(text)}”?`, path: `planned/${part(id)}`, load, change: changes[status] }));
});
