// The page: who is here, and which view is open.

import { api, attempt, listen } from "./api.js";
import { Cards, moved } from "./card.js";
import { byId, complain, say, sentence, stamp, sure, useZone } from "./dom.js";
import { showNotices } from "./notices.js";
import * as records from "./records.js";
import { spentView } from "./spent.js";
import { listConversations, markOpen, Talk } from "./talk.js";

const VIEWS = { ...records, waiting: (me, { waiting }) => waiting.node, spent: spentView };
const main = byId("main");
const dialog = byId("sign-in");

class Page {
	count = 0;
	asked = 0;

	constructor(me) {
		this.me = me;
		useZone(me.timezone);
		this.talk = new Talk(me, () => this.refresh());
		this.waiting = stamp("waiting");
		this.cards = new Cards(this.waiting.cards, () => this.refresh());
		byId("user").textContent = me.user;
		byId("role").textContent = me.role ?? "";
		byId("sign-out").hidden = byId("sign-out-all").hidden = !me.guarded;
		byId("sign-out").onclick = () => leave("session");
		byId("sign-out-all").onclick = async () => { if (await sure(sentence("sign-out-everywhere"), "Sign out everywhere")) leave("sessions"); };
		addEventListener("hashchange", () => this.route());
		document.addEventListener("visibilitychange", () => this.listen());
		this.listen();
		this.route();
	}

	/** Only while it is looked at: a browser holds six connections to a server. */
	listen() {
		const refresh = () => this.refresh();
		refresh();
		this.hush?.();
		if (!document.hidden) this.hush = listen("events", { take: refresh, ended: () => this.listen() });
	}

	async refresh() {
		const own = ++this.asked;
		const list = await listConversations();
		await showNotices();
		const items = await attempt("waiting");
		if (!items || own !== this.asked) return;
		const mine = items.filter(({ may_answer: may }) => may).length;
		document.title = mine ? `(${mine}) twobrain` : "twobrain";
		byId("badge").textContent = mine || "";
		Object.assign(byId("pill"), { textContent: `${mine} waiting`, hidden: !mine });
		if (mine > this.count) say(`${mine} waiting for your consent`);
		this.count = mine;
		this.cards.show(items);
		this.talk.items = items;
		this.talk.state();
		if (this.view === "talk") this.talk.look(list ?? []);
	}

	route() {
		const [name, id = ""] = location.hash.slice(1).split("/");
		this.view = name in VIEWS ? name : "talk";
		byId("side").hidePopover();
		markOpen();
		byId("where").textContent = this.view;
		this.talk.leave();
		if (this.view === "talk") {
			main.replaceChildren(this.talk.node);
			this.talk.open(new URLSearchParams(`id=${id}`).get("id") || null);
			return;
		}
		main.replaceChildren(VIEWS[this.view](this.me, this));
		moved();
		main.querySelector("h1").focus();
	}
}

async function leave(what) {
	await attempt(what, "DELETE");
	sessionStorage.clear();
	location.reload();
}

function signIn() {
	if (dialog.open) return;
	byId("token-problem").textContent = page ? sentence("signed-out") : "";
	dialog.showModal();
}

dialog.oncancel = (event) => event.preventDefault();
dialog.querySelector("form").onsubmit = async (event) => {
	event.preventDefault();
	const error = await api("session", "POST", { token: byId("token").value.trim() }).catch((found) => found);
	if (error instanceof Error) {
		byId("token-problem").textContent = error.status === 401 ? sentence("unknown-token") : error.message;
		return;
	}
	byId("token").value = "";
	dialog.close();
	const me = await attempt("me");
	if (page && me?.user === page.me.user) page.listen();
	else location.reload();
};

let page;
addEventListener("signed-out", signIn);
byId("side").onclick = (event) => { if (event.target.closest("a")) byId("side").hidePopover(); };
byId("skip").onclick = (event) => {
	event.preventDefault();
	main.focus();
};
api("me").then((me) => { page = new Page(me); }, (error) => { if (error.status !== 401) complain(error.message); });
