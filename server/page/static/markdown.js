// Markdown as elements: text and links, nothing that loads.

import { el, prose, stamp, visible } from "./dom.js";

const SCHEMES = ["http:", "https:", "mailto:"];
const DEEPEST = 8;
const LONGEST_LINE = 1000;
const INLINE = new RegExp([
	/\\(?<sign>[\\`*_{}[\]()#+\-.!|~<>])/,
	/(?<!`)(?<ticks>`{1,9})(?!`)(?<code>[^]{0,2000}?[^`])\k<ticks>(?!`)/,
	/!?\[(?<words>[^\]]{0,1000})\]\(\s*<?(?<target>[^\s<>()]*(?:\([^\s()]*\)[^\s<>()]*)*)>?(?:\s+"[^"]*")?\s*\)/,
	/<?(?<bare>https?:\/\/[^\s<>"'`]*[^\s<>"'`.,;:!?)\]*_])>?/,
	/(?<stars>\*\*|__)(?=\S)(?<strong>[^]{0,2000}?\S)\k<stars>/,
	/(?<![\w*])(?<star>[*_])(?=[^\s*_])(?<em>[^*_]{0,1000}?\S)\k<star>(?!\w)/,
].map((each) => each.source).join("|"), "g");

function link(text, address, source) {
	const found = URL.parse(address);
	if (!found || !SCHEMES.includes(found.protocol)) return source;
	const whole = visible(found.href.replace(/^mailto:/, ""));
	const made = el("a", { href: found.href, rel: "noopener noreferrer", target: "_blank" });
	const words = visible(text).trim();
	if (!words || words === address || words === whole) made.append(whole);
	else made.append(words, el("span", { className: "address" }, ` (${whole})`));
	return made;
}

function inline(node, text, depth = 0) {
	const plain = (piece) => piece.split("\n").forEach((line, number) => node.append(...(number ? [el("br")] : []), line));
	const nested = (tag, piece) => (depth < DEEPEST ? inline(el(tag), piece, depth + 1) : piece);
	let at = 0;
	for (const found of text.matchAll(INLINE)) {
		const [source] = found;
		const { sign, code, words, target, bare, strong, em } = found.groups;
		plain(text.slice(at, found.index));
		at = found.index + source.length;
		if (code) node.append(el("code", {}, code.replace(/^ ([^]*) $/, "$1")));
		else if (strong ?? em) node.append(strong ? nested("strong", strong) : nested("em", em));
		else node.append(sign ?? link(words ?? "", target ?? bare, source));
	}
	plain(text.slice(at));
	return node;
}

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])\s*(?:\1\s*){2,}$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const TABLE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const is = (kind, line) => line?.length <= LONGEST_LINE && kind.test(line);
const begins = (line) => [FENCE, HEADING, RULE, QUOTE, ITEM].some((kind) => is(kind, line));

/** Return blocks: each its source, and how its element is made. */
function blocks(text, depth = 0) {
	const lines = text.split("\n");
	const found = [];
	for (let at = 0; at < lines.length;) {
		if (!lines[at].trim()) at += 1;
		else {
			const [end, make] = block(lines, at, depth);
			found.push({ source: lines.slice(at, end).join("\n"), make });
			at = end;
		}
	}
	return found;
}

function block(lines, at, depth) {
	const line = lines[at];
	const [, marks, words] = (is(HEADING, line) && line.match(HEADING)) || [];
	if (is(FENCE, line)) return fenced(lines, at);
	if (marks) return [at + 1, () => inline(el(`h${Math.min(6, marks.length + 1)}`), words)];
	if (is(RULE, line)) return [at + 1, () => el("hr")];
	if (is(QUOTE, line) && depth < DEEPEST) return quoted(lines, at, depth);
	if (is(ITEM, line) && depth < DEEPEST) return listed(lines, at, depth);
	if (line.includes("|") && is(TABLE, lines[at + 1])) return tabled(lines, at);
	const end = upTo(lines, at + 1, (each) => !each.trim() || begins(each));
	return [end, () => inline(el("p"), lines.slice(at, end).map((each) => each.trim()).join("\n"))];
}

function upTo(lines, at, isEnd) {
	const after = lines.slice(at).findIndex(isEnd);
	return after < 0 ? lines.length : at + after;
}

function fenced(lines, at) {
	const [, fence, language] = lines[at].match(FENCE);
	const end = upTo(lines, at + 1, (line) => line.trim().startsWith(fence));
	return [end + 1, () => {
		const { node, copy, text } = stamp("code", { language: language || "text" });
		text.textContent = lines.slice(at + 1, end).join("\n");
		copy.onclick = () => navigator.clipboard.writeText(text.textContent);
		return node;
	}];
}

function quoted(lines, at, depth) {
	const end = upTo(lines, at, (line) => !QUOTE.test(line));
	const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, "")).join("\n");
	return [end, () => el("blockquote", {}, blocks(inner, depth + 1).map(({ make }) => make()))];
}

function listed(lines, at, depth) {
	const [, { length: indent }, bullet] = lines[at].match(ITEM);
	const isOrdered = /\d/.test(bullet);
	const items = [];
	let end = at;
	for (; end < lines.length; end += 1) {
		const line = lines[end];
		const inset = line.search(/\S/);
		const [, , own, words] = line.match(ITEM) ?? [];
		if (own && inset <= indent + 1) {
			if (/\d/.test(own) !== isOrdered) break;
			items.push([words]);
		} else if (inset < 0) {
			if (!(lines[end + 1]?.search(/\S/) > indent || ITEM.test(lines[end + 1]))) break;
			items.at(-1).push("");
		} else if (inset > indent || !begins(line)) items.at(-1).push(line.slice(Math.min(inset, indent + 2)));
		else break;
	}
	return [end, () => el(isOrdered ? "ol" : "ul", isOrdered ? { start: parseInt(bullet, 10) } : {}, items.map((item) => listItem(item.join("\n"), depth)))];
}

function listItem(text, depth) {
	const parts = blocks(text, depth + 1).map(({ make }) => make());
	return el("li", {}, parts.flatMap((made) => (made.tagName === "P" ? [...made.childNodes] : [made])));
}

function tabled(lines, at) {
	const end = upTo(lines, at, (line) => !line.includes("|"));
	const row = (line, tag) => el("tr", {}, line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => inline(el(tag), cell.trim())));
	return [end, () => el("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "Table" }, el("table", {},
		el("thead", {}, row(lines[at], "th")), el("tbody", {}, lines.slice(at + 2, end).map((line) => row(line, "td")))))];
}

/** Draws a text that grows; only what has changed is made anew. */
export class Markdown {
	drawn = [];

	constructor(node) {
		this.node = node;
	}

	show(text) {
		const wanted = blocks(prose(text));
		const changed = wanted.findIndex(({ source }, at) => source !== this.drawn[at]);
		const same = changed < 0 ? wanted.length : changed;
		while (this.node.childNodes.length > same) this.node.lastChild.remove();
		this.node.append(...wanted.slice(same).map(({ make }) => make()));
		this.drawn = wanted.map(({ source }) => source);
	}
}
