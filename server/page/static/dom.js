// Elements, times and sizes in words; nothing here parses markup.

export const byId = (id) => document.getElementById(id);

export function el(tag, props = {}, ...children) {
	const node = Object.assign(document.createElement(tag), props);
	node.append(...children.flat());
	return node;
}

export const part = (text) => encodeURIComponent(text).replace(/^\.+$/, "%252e");

/** Copy a template: its `node`, and its parts by name. A text fills a part, an empty one removes it; `talk` is where its link leads. */
export function stamp(name, { talk, ...texts } = {}) {
	const node = byId(`t-${name}`).content.firstElementChild.cloneNode(true);
	const parts = { node };
	for (const each of node.querySelectorAll("[data-is]")) parts[each.dataset.is] = each;
	if (talk) parts.link.href = `#talk/${part(talk)}`;
	for (const [name, found] of Object.entries(texts)) {
		const text = found?.join ? found.filter(Boolean).join(" · ") : found;
		if (text) parts[name].textContent = visible(text);
		else parts[name]?.remove();
	}
	return parts;
}

const UNSEEN = /[\p{Z}\p{Cc}\p{Cf}\p{Cs}\p{DI}\p{NChar}\u115f\u1160\u2800\u3164\uffa0\ufffc\u{13441}\u{13442}\u{1d159}]/gu;
const CONTROLS = /[\p{Cc}\p{Bidi_C}\p{Cs}\u2028\u2029]/gu;

/** Write out what cannot be seen, as in \u{202e}; line breaks and tabs stay. */
export function visible(text, unseen = UNSEEN) {
	return String(text).replace(unseen, (char) => (" \n\t".includes(char) ? char : `\\u{${char.codePointAt(0).toString(16)}}`));
}

/** Our commands as code. */
export const coded = (text) => visible(text).split(/`(twobrain [^`\n]+)`/).map((each, at) => (at % 2 ? el("code", {}, each) : each));

/** Of prose only controls: joined emojis and letters stay. */
export const prose = (text) => visible(text.replace(/\r\n?/g, "\n"), CONTROLS);
export const exact = (value) => visible(typeof value === "string" ? value : JSON.stringify(value, null, 1));
export const brief = (args) => Object.values(args ?? {}).map(exact).join(", ").slice(0, 200);

let timeZone;
export const useZone = (name) => { timeZone = name; };
export const moment = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleString("en-GB", { timeZone, dateStyle: "medium", timeStyle: "short" }) : "");

export const took = (ms) => (typeof ms !== "number" ? "" : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
export const number = (value) => value.toLocaleString("en");
export const dollars = (value) => (typeof value !== "number" ? "unknown cost" : value ? `$${value.toFixed(value < 1 ? 4 : 2)}` : "$0");
export const bytes = (size) => `${number(Math.ceil(size / 1e3))} KB`;
export const count = (many, thing) => `${number(many)} ${thing}${many === 1 ? "" : "s"}`;

/** A sentence of index.html, each {} of it filled in. */
export const sentence = (id, ...fills) => String.raw({ raw: byId("words").content.getElementById(id).textContent.split("{}") }, ...fills);

export const say = (text) => { byId("status").textContent = text; };

export function complain(text) {
	const { node, words, dismiss } = stamp("problem");
	words.append(...coded(text));
	dismiss.onclick = () => node.remove();
	byId("problem").replaceChildren(node);
}

export function sure(question, yes) {
	const dialog = byId("sure");
	byId("sure-text").textContent = question;
	byId("sure-yes").textContent = yes;
	dialog.returnValue = "";
	dialog.showModal();
	return new Promise((answer) => { dialog.onclose = () => answer(dialog.returnValue === "yes"); });
}
