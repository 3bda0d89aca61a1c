// Talk: conversations, the one that is open, and what is said next.

import { attempt, part, query, talkOf } from "./api.js";
import { Cards, watch } from "./card.js";
import { byId, bytes, complain, el, moment, stamp, sure, visible } from "./dom.js";
import { Markdown } from "./markdown.js";
import { account, Turn } from "./turn.js";

const LIMITS = { max_bytes: 10e6 };
const NEAR_END_PX = 80;
const isTouched = () => matchMedia("(pointer: coarse)").matches;

export async function listConversations() {
	const q = byId("search").value.trim();
	const found = await attempt(`conversations?${query({ q })}`);
	if (!found || q !== byId("search").value.trim()) return [];
	byId("conversations").replaceChildren(...found.map(({ id, title, status, updated_at: at }) => {
		const { node, link } = stamp("conversation", { title: title || "Untitled", state: status === "answered" ? moment(at) : status });
		link.href = `#talk/${part(id)}`;
		link.className = status;
		return node;
	}));
	if (!found.length) byId("conversations").append(el("li", { className: "hint" }, q ? "Nothing was found." : "What you talk about is listed here."));
	markOpen();
	return found;
}

export function markOpen() {
	for (const link of byId("side").querySelectorAll("li a")) link.ariaCurrent = location.hash.startsWith(link.hash) ? "page" : null;
}

byId("search").onchange = listConversations;

export class Talk {
	id = null;
	files = [];
	items = [];

	constructor(me, changed) {
		Object.assign(this, stamp("talk"), { changed, user: me.user, limits: { ...LIMITS, ...me.attachments } });
		this.waiting = new Cards(this.cards, () => {
			this.waiting.clear();
			this.load();
			if (!isTouched()) this.input.focus();
		});
		this.model.append(...(me.models ?? []).map(({ name, label }) => el("option", { value: name }, visible(label || name))));
		this.path.append(...(me.paths ?? []).filter((each) => each !== "auto").map((each) => el("option", {}, each)));
		this.send.onclick = () => this.speak();
		this.stop.onclick = () => attempt(talkOf(this.id, "/stop"), "POST");
		this.clip.onclick = () => this.picker.click();
		this.picker.onchange = () => {
			this.attach(this.picker.files);
			this.picker.value = "";
		};
		this.input.oninput = () => this.typed();
		this.input.onkeydown = (event) => {
			if (event.key !== "Enter" || event.shiftKey || event.isComposing || (isTouched() && !event.ctrlKey)) return;
			event.preventDefault();
			if (!event.repeat) this.speak();
		};
		const take = (event, data) => {
			if (!data.types.includes("Files")) return;
			event.preventDefault();
			this.attach(data.files);
		};
		this.input.onpaste = (event) => take(event, event.clipboardData);
		this.node.ondragover = (event) => event.preventDefault();
		this.node.ondrop = (event) => take(event, event.dataTransfer);
		this.scroller.onscroll = () => { this.follows = this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < NEAR_END_PX; };
		new ResizeObserver(() => { if (this.follows) this.scroller.scrollTop = this.scroller.scrollHeight; }).observe(this.log);
		watch(this.log);
	}

	get draft() {
		return `${this.user}:${this.id}`;
	}

	typed() {
		sessionStorage.setItem(this.draft, this.input.value);
		this.send.disabled = !this.input.value.trim() && !this.files.length;
	}

	fill(text) {
		Object.assign(this, { files: [], follows: true });
		this.input.value = text;
		this.drawFiles();
	}

	attach(files) {
		const { max_bytes: most } = this.limits;
		for (const file of files) {
			if (file.size > most) complain(`${file.name} has ${bytes(file.size)}: at most ${bytes(most)} can be attached.`);
			else this.files.push(file);
		}
		this.drawFiles();
	}

	drawFiles() {
		this.chips.replaceChildren(...this.files.map((file) => {
			const { node, remove } = stamp("chip", { name: file.name, size: bytes(file.size) });
			remove.ariaLabel = `Remove ${file.name}`;
			remove.onclick = () => {
				this.files = this.files.filter((each) => each !== file);
				this.drawFiles();
				this.input.focus();
			};
			return node;
		}));
		this.typed();
	}

	async speak() {
		const text = this.input.value.trim();
		if ((!text && !this.files.length) || this.turn || this.send.disabled) return;
		this.send.disabled = true;
		const given = await Promise.all(this.files.map(read));
		const attachments = given.length ? given : undefined;
		const begun = await attempt(this.id ? talkOf(this.id, "/turns") : "conversations", "POST", { text, attachments, model: this.model.value || undefined, path: this.path.value || undefined });
		this.send.disabled = false;
		if (!begun) return;
		this.fill("");
		this.log.querySelector(".empty")?.remove();
		this.log.append(said({ role: "user", text, attachments }));
		if (this.id !== begun.id) {
			this.id = begun.id;
			history.replaceState(null, "", `#talk/${part(begun.id)}`);
			this.heading({ title: text });
		}
		this.listen();
		this.changed();
	}

	async open(id) {
		this.leave();
		this.id = id;
		this.waiting.clear();
		this.fill(sessionStorage.getItem(this.draft) ?? "");
		this.log.replaceChildren(...(id ? [] : [this.welcome()]));
		this.head.replaceChildren(el("h1", {}, id ? "…" : "New conversation"));
		this.state();
		if (id) await this.load();
	}

	welcome() {
		const { node, examples } = stamp("welcome");
		examples.onclick = ({ target }) => {
			if (target !== examples) this.fill(target.textContent);
			this.input.focus();
		};
		return node;
	}

	async load() {
		const { id } = this;
		const found = await attempt(talkOf(id));
		if (!found || id !== this.id) return;
		this.leave();
		this.updated = found.updated_at;
		const isLive = found.status === "running" || typeof found.live === "number";
		this.heading(found);
		this.log.replaceChildren(...found.messages.map(said));
		if (found.result && !found.result.pending && !isLive) this.log.append(account(found.result));
		if (found.status === "interrupted" && !isLive) {
			const { node, go } = stamp("interrupted");
			go.onclick = async () => { if (await attempt(talkOf(id, "/proceed"), "POST")) this.load(); };
			this.log.append(node);
		}
		if (isLive) this.listen();
		this.state();
	}

	/** Look again, where it went on elsewhere. */
	look(list) {
		const now = list.find(({ id }) => id === this.id);
		if (now && !this.turn && now.updated_at > this.updated) this.load();
	}

	heading({ title }) {
		const path = talkOf(this.id);
		const parts = stamp("head");
		parts.title.value = title || "Untitled";
		parts.title.onchange = async () => { if (await attempt(path, "PATCH", { title: parts.title.value })) this.changed(); };
		parts.title.onkeydown = ({ key }) => { if (key === "Enter") parts.title.blur(); };
		parts.remove.onclick = async () => {
			if (!(await sure(`Delete “${visible(parts.title.value)}”, with all that was said in it?`, "Delete")) || !(await attempt(path, "DELETE"))) return;
			location.hash = "#talk";
			this.changed();
		};
		this.head.replaceChildren(parts.node);
	}

	listen() {
		this.leave();
		this.turn = new Turn(this.id, {
			waits: this.changed,
			over: (result) => {
				this.turn = null;
				this.state();
				this.changed();
				if (!result || result.pending) this.load();
			},
		});
		this.log.append(this.turn.node);
		this.state();
	}

	state() {
		const waits = this.items.filter(({ id }) => id === this.id && !this.turn);
		this.waiting.show(waits);
		this.stop.hidden = !this.turn;
		this.send.hidden = Boolean(this.turn);
		this.hint.hidden = !waits.length;
	}

	leave() {
		this.turn?.close();
		this.turn = null;
	}
}

function said({ role, text, attachments = [] }) {
	const parts = stamp(role === "user" ? "user" : "answer", role === "user" ? {} : { doing: "" });
	if (role === "user") parts.text.textContent = text;
	else new Markdown(parts.text).show(text);
	parts.files.append(...attachments.map(({ name }) => stamp("chip", { name, size: "", remove: "" }).node));
	return parts.node;
}

async function read(file) {
	const url = await new Promise((done) => {
		const reader = new FileReader();
		reader.onloadend = () => done(reader.result ?? ",");
		reader.readAsDataURL(file);
	});
	return { name: file.name, type: file.type || "application/octet-stream", data: url.slice(url.indexOf(",") + 1) };
}
