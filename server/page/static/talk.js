// Talk: the conversations, the open one, what is typed.

import { api, attempt, query, talkOf } from "./api.js";
import { Cards, watch } from "./card.js";
import { byId, bytes, complain, el, moment, part, prose, sentence, stamp, sure, visible } from "./dom.js";
import { Markdown } from "./markdown.js";
import { account, Turn } from "./turn.js";

const NEAR_END_PX = 80;
const TYPED_MS = 200;
const isTouched = () => matchMedia("(pointer: coarse)").matches;

const place = byId("conversations");
const search = byId("search");
let typing;

export async function listConversations() {
	const q = search.value.trim();
	const found = await attempt(`conversations?${query({ q })}`);
	if (!found || q !== search.value.trim()) return [];
	place.ariaBusy = false;
	place.replaceChildren(...found.map(({ id, title, status, updated_at: at }) => {
		const { node, link } = stamp("conversation", { talk: id, title: title || "Untitled", state: status === "answered" ? moment(at) : status });
		link.className = status;
		return node;
	}));
	markOpen();
	return found;
}

export function markOpen() {
	for (const link of byId("side").querySelectorAll("li a")) link.ariaCurrent = location.hash.startsWith(link.hash) ? "page" : null;
}

search.oninput = () => {
	clearTimeout(typing);
	place.ariaBusy = true;
	typing = setTimeout(listConversations, TYPED_MS);
};
search.onkeydown = (event) => {
	if (event.key !== "Escape" || !search.value) return;
	event.preventDefault();
	search.value = "";
	search.oninput();
};

export class Talk {
	id = null;
	held = {}; // files, by draft
	items = [];
	heard = {}; // what an answer took, by its place
	used = new Set();

	constructor(me, changed) {
		Object.assign(this, stamp("talk"), { changed, user: me.user, limits: me.attachments });
		this.waiting = new Cards(this.cards, () => {
			this.waiting.clear();
			this.load();
			if (!isTouched()) this.input.focus();
		});
		this.model.append(...me.models.map(({ name, label }) => el("option", { value: name }, visible(label))));
		this.path.append(...me.paths.slice(1).map((each) => el("option", {}, each)));
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

	get files() {
		return (this.held[this.draft] ??= []);
	}

	get place() {
		return `${this.id}/${this.log.querySelectorAll(".user").length}`;
	}

	typed() {
		sessionStorage.setItem(this.draft, this.input.value);
		this.send.disabled = this.sent || (!this.input.value.trim() && !this.files.length);
		this.input.readOnly = this.cards.inert = this.sent === this.draft;
	}

	fill(text) {
		this.follows = true;
		this.input.value = text;
		this.drawFiles();
	}

	attach(files) {
		const { max_bytes: most } = this.limits;
		for (const file of files) {
			if (file.size > most) complain(sentence("too-large", file.name, bytes(file.size), bytes(most)));
			else this.files.push(file);
		}
		this.drawFiles();
	}

	drawFiles() {
		this.chips.replaceChildren(...this.files.map((file) => {
			const { node, remove } = stamp("chip", { name: file.name, size: bytes(file.size) });
			remove.ariaLabel = `Remove ${file.name}`;
			remove.onclick = () => {
				this.files.splice(this.files.indexOf(file), 1);
				this.drawFiles();
				this.input.focus();
			};
			return node;
		}));
		this.typed();
	}

	async speak() {
		const text = this.input.value.trim();
		if ((!text && !this.files.length) || this.turn || this.sent) return;
		const { id, draft, opened } = this;
		this.sent = draft;
		this.typed();
		const given = await Promise.all(this.files.map(read));
		const attachments = given.length ? given : undefined;
		const begun = await attempt(id ? talkOf(id, "/turns") : "conversations", "POST", { text, attachments, model: this.model.value || undefined, path: this.path.value || undefined });
		this.sent = null;
		this.typed();
		if (!begun) return;
		sessionStorage.removeItem(draft);
		delete this.held[draft];
		if (draft === this.draft) this.fill("");
		this.changed();
		if (opened !== this.opened || !this.node.isConnected) return id && id === this.id && this.load();
		this.used.clear();
		this.waiting.clear();
		this.items = this.items.filter((each) => each.id !== id);
		this.log.querySelector(".empty")?.remove();
		this.log.append(said({ role: "user", text, attachments }));
		if (this.id !== begun.id) {
			this.id = begun.id;
			history.replaceState(null, "", `#talk/${part(begun.id)}`);
			this.heading({ title: text });
		}
		this.listen();
	}

	async open(id) {
		this.leave();
		this.used.clear();
		this.opened = {};
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
			if (target !== examples) this.fill(`${this.input.value} ${target.textContent}`.trim());
			this.input.focus();
		};
		return node;
	}

	async load() {
		const { id } = this;
		const found = await api(talkOf(id)).catch((error) => error);
		if (id !== this.id) return;
		if (found instanceof Error) {
			if (found.status === 404) this.head.replaceChildren(el("h1", {}, sentence("no-conversation")));
			else if (found.status !== 401) complain(found.message);
			return;
		}
		this.leave();
		this.updated = found.updated_at;
		const isLive = found.status === "running" || typeof found.live === "number";
		this.heading(found);
		this.log.replaceChildren();
		for (const each of found.messages) this.log.append(said(each), (each.role !== "user" && this.heard[this.place]) || "");
		if (found.result && !found.result.pending && !isLive && !this.heard[this.place]) this.log.append(account(found.result, this.used));
		if (found.status === "interrupted" && !isLive) {
			const { node, go } = stamp("interrupted");
			go.onclick = async () => { if (await attempt(talkOf(id, "/proceed"), "POST")) this.load(); };
			this.log.append(node);
		}
		if (isLive) this.listen();
		this.state();
	}

	look(list) {
		const now = list.find(({ id }) => id === this.id);
		if (now && !this.turn && now.updated_at > this.updated) this.load();
	}

	heading({ title }) {
		const path = talkOf(this.id);
		const parts = stamp("head");
		parts.title.value = prose(title || "Untitled");
		parts.title.onchange = async () => { if (await attempt(path, "PATCH", { title: parts.title.value })) this.changed(); };
		parts.title.onkeydown = ({ key }) => { if (key === "Enter") parts.title.blur(); };
		parts.remove.onclick = async () => {
			if (!(await sure(sentence("delete-conversation", visible(parts.title.value)), "Delete")) || !(await attempt(path, "DELETE"))) return;
			location.hash = "#talk";
			this.changed();
		};
		this.head.replaceChildren(parts.node);
	}

	listen() {
		this.leave();
		this.turn = new Turn(this.id, {
			waits: this.changed,
			used: this.used,
			heard: (told) => { this.heard[this.place] = told; },
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
		this.send.hidden = this.turn;
		this.hint.hidden = !waits.length;
	}

	leave() {
		this.turn?.close();
		this.turn = null;
	}
}

function said({ role, text, attachments = [] }) {
	const parts = stamp(role === "user" ? "user" : "answer", { doing: "" });
	if (role === "user") parts.text.textContent = prose(text);
	else new Markdown(parts.text).show(text);
	parts.files.append(...attachments.map(({ name }) => stamp("chip", { name, size: "", remove: "" }).node));
	return parts.node;
}

async function read(file) {
	const reader = new FileReader();
	reader.readAsDataURL(file);
	await new Promise((done) => { reader.onloadend = done; });
	return { name: file.name, type: file.type || "application/octet-stream", data: reader.result?.split(",")[1] ?? "" };
}
