// One turn as it runs: its steps, its answer, what it took.

import { listen, talkOf } from "./api.js";
import { moved } from "./card.js";
import { brief, complain, count, dollars, number, say, sentence, stamp, took, visible } from "./dom.js";
import { Markdown } from "./markdown.js";

const DRAWN_EACH_MS = 60;

function step(status, tool, text, ms) {
	const parts = stamp("step", { tool, state: status });
	parts.mark.setAttribute("href", `#i-${status}`);
	parts.node.classList.add(status);
	parts.text.textContent = visible(text ?? "").slice(0, 300);
	parts.clock.textContent = took(ms);
	return parts;
}

export function account(result, used) {
	const { input_tokens: read = 0, output_tokens: written = 0, model_calls: calls, cost_usd: cost } = result.usage ?? {};
	const models = [...new Set([...used, result.backend].filter(Boolean))].map(visible).join(" → ");
	const facts = [models, read + written > 0 && `${number(read + written)} tokens`, calls && dollars(cost), result.stop_reason !== "answered" && result.stop_reason];
	const receipts = result.receipts ?? [];
	const parts = stamp("account", { facts, title: count(receipts.length, "receipt") });
	parts.steps.append(...receipts.map((each) => step(each.status, each.tool, each.text).node));
	parts.box.open = receipts.some((each) => each.status !== "executed");
	if (!receipts.length) parts.box.remove();
	return parts.node;
}

/** Draws a turn; `waits` hears of a question, `heard` what it took, `over` of its end. */
export class Turn {
	last = -1;
	running = new Map();

	constructor(thread, { used, heard, over, waits }) {
		Object.assign(this, stamp("answer"), { used, heard, over, waits });
		this.answer = new Markdown(this.text);
		this.clear();
		this.ticking = setInterval(() => this.tick(), 500);
		this.hush = listen(talkOf(thread, "/events"), { take: (event, id) => this.take(event, id), ended: () => this.end() });
	}

	take(event, id) {
		if (id <= this.last) this.clear(); // the same turn, told from its beginning
		this.last = id;
		this.doing.textContent = event.event === "queued" ? sentence("queued") : "Thinking…";
		this[`on_${event.event}`]?.(event);
		moved();
	}

	clear() {
		Object.assign(this, { said: "", kept: 0 });
		this.running.clear();
		this.steps.replaceChildren();
		this.draw();
	}

	on_token({ text }) {
		this.said += text;
		this.drawing ??= setTimeout(() => this.draw(), DRAWN_EACH_MS);
	}

	on_restarted() {
		this.said = this.said.slice(0, this.kept);
		this.draw();
	}

	on_usage({ model }) {
		this.used.add(model);
		this.kept = this.said.length;
	}

	on_tool_started({ call_id: id, tool, args }) {
		const made = step("running", tool, brief(args));
		this.running.set(id, { ...made, since: Date.now() });
		this.steps.append(made.node);
		say(`${tool} runs`);
	}

	on_tool_finished({ call_id: id, tool, status, result, duration_ms: ms }) {
		const { node } = step(status, tool, result, ms);
		if (this.running.has(id)) this.running.get(id).node.replaceWith(node);
		else this.steps.append(node);
		this.running.delete(id);
	}

	on_confirmation() {
		this.waits();
	}

	on_done({ result }) {
		this.said = result?.response || this.said;
		this.draw();
		if (result && !result.pending) {
			const told = account(result, this.used);
			this.node.append(told);
			this.heard(told);
			say(`Answered: ${this.text.textContent.slice(0, 500)}`);
		}
		this.end(result);
	}

	on_failed({ detail, stopped }) {
		if (!stopped) complain(detail);
		this.end();
	}

	tick() {
		for (const { clock, since } of this.running.values()) clock.textContent = took(Date.now() - since);
	}

	draw() {
		this.drawing = clearTimeout(this.drawing);
		this.answer.show(this.said);
	}

	close() {
		clearInterval(this.ticking);
		this.hush();
		this.doing.remove();
	}

	end(result) {
		this.close();
		this.over(result);
	}
}
