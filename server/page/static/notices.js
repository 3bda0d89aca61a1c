// Notices: results and reminders that came by themselves.

import { attempt } from "./api.js";
import { watch } from "./card.js";
import { byId, moment, say, stamp } from "./dom.js";

const place = byId("told");
const [list, rest, all] = place.querySelectorAll("ul, span, button");
let shown;

async function dismiss(which) {
	if (await attempt("notices/dismissed", "POST", which)) showNotices();
}

function row({ id, what, title, text, note, at, conversation }) {
	const parts = stamp("told", { talk: conversation, what, link: title, text, note, when: moment(at) });
	parts.dismiss.ariaLabel = `Dismiss ${title || text}`;
	parts.dismiss.onclick = () => dismiss({ id });
	return parts.node;
}

export async function showNotices() {
	const { notices, more } = (await attempt("notices")) ?? {};
	const now = JSON.stringify([notices, more]);
	if (!notices || now === shown) return;
	const hadFocus = place.contains(document.activeElement);
	const first = list.textContent;
	shown = now;
	list.replaceChildren(...notices.map(row));
	rest.textContent = more ? `and ${more} more` : "";
	all.onclick = () => dismiss({ until: notices[0].at });
	place.hidden = !notices.length;
	if (hadFocus) byId("main").focus();
	if (list.textContent.endsWith(first)) say(list.firstChild?.textContent ?? "");
}

watch(place);
