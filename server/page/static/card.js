// The card: calls that wait for consent.

import { api, attempt, query, talkOf } from "./api.js";
import { coded, el, exact, moment, sentence, stamp, visible } from "./dom.js";
import { argumentsForm, ruleForm } from "./form.js";

const SETTLING_MS = 400;
let settling;

function deafen(timer) {
	settling = timer;
	for (const each of document.querySelectorAll("[aria-disabled]")) each.ariaDisabled = Boolean(timer);
}

/** What is clicked now may not be what was aimed at. */
export function moved() {
	clearTimeout(settling);
	deafen(setTimeout(deafen, SETTLING_MS));
}

const sizes = new ResizeObserver((all) => all.every(({ target }) => target.querySelector(".panel")) || moved()); // a form grows by what is typed
export const watch = (node) => sizes.observe(node);

/** Let a button decide: deaf to stray clicks, and to a key that is held down. */
function decides(button, act) {
	button.onkeydown = (event) => {
		if (event.repeat) event.preventDefault();
	};
	button.ariaDisabled = Boolean(settling);
	button.onclick = () => settling || act();
}

function effectOf(description) {
	const [before, , preview, after] = description.split(/^(`{3,})\n([^]*?)\n\1$/m, 4);
	const words = (text = "") => text.split(/\n{2,}/).filter((each) => each.trim()).map((each) => el("p", {}, coded(each.trim())));
	const kindOf = (line) => (/^(@@ |--- now$|\+\+\+ after$)/.test(line) ? "place" : { "+": "added", "-": "removed" }[line[0]] ?? "");
	const drawn = preview?.split("\n").map((line) => el("span", { className: `line ${kindOf(line)}` }, `${visible(line)}\n`));
	return [...words(before), ...(drawn ? [el("pre", { className: "preview" }, drawn)] : []), ...words(after)];
}

function callPart(action, { item, isOnly, place, decide }) {
	const isInDoubt = "attempt" in action;
	const parts = stamp("call", { name: !isOnly && `${place} · ${action.name}`, offered: action.offer?.text });
	const { choices, panel } = parts;
	parts.args.append(...Object.entries(action.args).flatMap(([name, value]) => [el("dt", {}, visible(name)), el("dd", {}, el("pre", {}, exact(value)))]));
	parts.effect.append(...effectOf(action.description ?? ""));
	(isInDoubt ? choices : parts.doubt).remove();
	const drop = (when, ...ids) => when && ids.map((id) => parts[id].remove());
	const allowed = item.request.review_configs?.find((each) => each.action_name === action.name)?.allowed_decisions;
	drop(isInDoubt || !action.offer, "offer");
	drop(!allowed?.includes("edit"), "edit", "always");
	drop(action.always_asks, "always");
	if (!item.may_answer) {
		drop(1, "offer", "approve", "edit", "always", "again");
		drop(!item.may_reject, "decide");
	}
	const close = () => {
		panel.replaceChildren();
		choices.hidden = false;
	};
	const choose = (decision, words) => {
		decide({ ...decision, tool_call_id: action.tool_call_id }, `${visible(action.name)} ${words}`);
		if (isOnly) return;
		close();
		parts.decide.hidden = true;
		parts.told.textContent = words;
		parts.decided.hidden = false;
		parts.change.focus();
	};
	const open = ({ node, go, back, problem }, make, words) => {
		choices.hidden = true;
		panel.replaceChildren(node);
		moved();
		node.querySelector("input, select, textarea")?.focus();
		decides(go, () => {
			try {
				choose(make(), words);
			} catch (error) {
				problem.textContent = error.message;
			}
		});
		back.onclick = () => {
			close();
			moved();
			choices.lastElementChild.focus();
		};
	};
	parts.change.onclick = () => {
		decide(null, action.tool_call_id);
		parts.decide.hidden = false;
		parts.decided.hidden = true;
		moved();
	};
	decides(parts.approve, () => choose({ type: "approve" }, "will run."));
	decides(parts.again, () => choose({ type: "approve" }, "will run again."));
	decides(parts.count, () => choose({ type: "reject" }, "counts as done."));
	decides(parts.agree, () => choose({ type: "approve", remember: action.offer.remember }, "will run, and is agreed to."));
	parts.edit.onclick = () => {
		const form = argumentsForm(action.args, item.schemas?.[action.name]);
		const made = stamp("edit", isOnly ? {} : { go: "Keep these changes" });
		made.form.append(...form.nodes);
		open(made, () => ({ type: "edit", edited_action: { name: action.name, args: form.read() } }), "will run as you edited it.");
	};
	parts.always.onclick = () => {
		const made = ruleForm(action);
		open(made, () => ({ type: "approve", remember: made.read() }), "will run, and is agreed to.");
	};
	parts.reject.onclick = () => {
		const made = stamp("reject");
		open(made, () => ({ type: "reject", message: made.reason.value.trim() }), "will not run.");
	};
	return parts.node;
}

function card(item, answered) {
	const { request } = item;
	const actions = request.action_requests;
	const isOnly = actions.length === 1;
	const decisions = new Map();
	const parts = stamp("card", {
		what: actions.some((each) => "attempt" in each) ? sentence("in-doubt") : "Asks for your consent",
		title: isOnly ? actions[0].name : `${actions.length} calls`,
		talk: item.id,
		user: item.user || "somebody",
		link: item.title || item.id,
		problem: request.problem,
		words: (request.message ?? "").replace(request.problem ?? "", "").trim(),
	});
	const { node, send, hint, refused } = parts;
	const tell = () => {
		const left = actions.length - decisions.size;
		hint.textContent = sentence("undecided", left, actions.length);
		send.hidden = left > 0;
		moved();
	};
	const answer = async () => {
		node.inert = true;
		try {
			await api(talkOf(item.id, "/answer"), "POST", { question: item.question, decisions: [...decisions.values()].map(([decision]) => decision) });
			answered([...decisions.values()].map(([, words]) => words));
		} catch (error) {
			node.inert = false;
			if (error.status === 409) return settle(node, [error.message], item);
			refused.textContent = error.message;
			parts.title.focus();
		}
	};
	const decide = (decision, words) => {
		if (!decision) decisions.delete(words);
		else decisions.set(decision.tool_call_id, [decision, words]);
		return isOnly ? answer() : tell();
	};
	parts.since.textContent = moment(item.since);
	parts.calls.append(...actions.map((action, at) => callPart(action, { item, isOnly, place: `${at + 1} of ${actions.length}`, decide })));
	decides(send, answer);
	if (!item.may_answer) hint.textContent = sentence("waits-for", visible(request.approvers?.join(" or ") || "somebody else"));
	else if (!isOnly) tell();
	return node;
}

function settle(node, lines, item, title) {
	const hadFocus = node.contains(document.activeElement) || document.activeElement === document.body;
	const note = stamp("stale", { talk: item.id, what: item.request.action_requests.map(({ name }) => name).join(", "), ...(title ? { title } : {}) });
	note.lines.append(...lines.map((line) => el("p", {}, coded(line))));
	note.dismiss.onclick = () => note.node.remove();
	node.replaceWith(note.node);
	moved();
	if (hadFocus) note.title.focus();
}

async function became(item) {
	const rows = (await attempt(`audit?${query({ thread: item.id, limit: 100 })}`)) ?? [];
	return item.request.action_requests.map(({ name, tool_call_id: id }) => {
		const row = rows.find((each) => each.call_id === id);
		const how = [row?.decision && `${row.decision} by ${row.decided_by}`, row?.status].filter(Boolean);
		return `${name}: ${how.join("; ") || "answered elsewhere"}.`;
	});
}

/** Each card is left as it is while its question stands. */
export class Cards {
	shown = new Map();
	answered = new Set();

	constructor(node, took) {
		Object.assign(this, { node, took });
		node.className = "cards";
		watch(node);
	}

	show(items) {
		const wanted = new Map(items.map((item) => [JSON.stringify([item.id, item.question, item.since, item.request.problem]), item]));
		for (const [key, { node, item }] of this.shown) {
			if (wanted.has(key) || node.inert) continue;
			this.shown.delete(key);
			node.inert = true;
			if (node.isConnected) became(item).then((lines) => settle(node, lines, item));
			else node.remove();
		}
		for (const [key, item] of wanted) {
			if (this.shown.has(key) || this.answered.has(key)) continue;
			const node = card(item, (words) => {
				this.answered.add(key);
				this.shown.delete(key);
				settle(node, words, item, "Sent");
				this.took();
			});
			this.shown.set(key, { node, item });
			this.node.append(node);
			if (items.length === 1) node.scrollIntoView({ block: "nearest" });
			moved();
		}
	}

	clear() {
		this.shown.clear();
		this.node.replaceChildren();
	}
}
