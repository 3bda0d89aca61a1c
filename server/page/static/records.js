// Done, Agreed, Remembered.

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
		empty.hidden = rows.childElementCount;
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

function kept(text, facts, { label, question, path, load, isEditable }) {
	const parts = stamp("kept", { text: !isEditable && text, facts: facts.filter(Boolean).join(" · "), remove: label });
	if (isEditable) {
		parts.input.value = text;
		parts.input.oninput = () => { parts.save.hidden = false; };
		parts.save.onclick = async () => { if (await attempt(path, "PATCH", { text: parts.input.value })) load(); };
	} else parts.input.remove();
	parts.remove.onclick = async () => { if ((await sure(question, label)) && (await attempt(path, "DELETE"))) load(); };
	return parts.node;
}

export function agreedView() {
	const { node, rules, norules, pins, nopins } = stamp("agreed");
	const label = "Revoke";
	const rule = ({ id, tool, where, uses_left: left, until, user, why_not: why }) => {
		const bounds = Object.entries(where).map(([name, pattern]) => `${name} matches “${pattern}”`).join(" and ");
		const facts = [left === null ? "any number of times" : `${count(left, "time")} left`, until ? `until ${moment(until)}` : "for good", user && `agreed by ${user}`, why && `does not hold: ${why}`];
		return kept(`${tool} runs without asking where ${bounds}`, facts, { label, question: `Ask again before each such call of ${tool}?`, path: `rules/${part(id)}`, load });
	};
	const pin = ({ server, tool, agreed }) => kept(`${tool}, of ${server}`, [agreed === false ? "seen, not agreed to" : "agreed to as it is; if it changes, it asks again"], { label, question: `Forget what was agreed of ${tool}?`, path: `pins/${part(server)}/${part(tool)}`, load });
	const load = async () => {
		const [found, pinned] = [await attempt("rules"), await attempt("pins")];
		rules.replaceChildren(...(found ?? []).map(rule));
		pins.replaceChildren(...(pinned ?? []).map(pin));
		norules.hidden = !found || found.length;
		nopins.hidden = !pinned || pinned.length;
	};
	load();
	return node;
}

export function rememberedView() {
	const { node, rows, empty } = stamp("remembered");
	const load = async () => {
		const found = (await attempt("memories")) ?? [];
		rows.replaceChildren(...found.map(({ id, text, created_at: at, from }) => kept(text, [moment(at), from], { label: "Forget", question: `Forget “${visible(text)}”?`, path: `memories/${part(id)}`, load, isEditable: true })));
		empty.hidden = found.length;
	};
	load();
	return node;
}
