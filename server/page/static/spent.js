// Spent: tokens and cost as charts, and what is left of the day.

import { api, attempt, query } from "./api.js";
import { dollars, el, number, stamp, visible } from "./dom.js";

const HEIGHT = 140;
const DAY_MS = 86_400_000;
const TITLES = { day: "By day", user: "By person", model: "By model", role: "By brain" };
const nameOf = (row, by) => visible(row[by] ?? row.backend ?? "unknown");
const tokensOf = (row) => (row.input_tokens ?? 0) + (row.output_tokens ?? 0);
const inTokens = (amount) => `${number(amount)} tokens`;

export function spentView() {
	const { node, today, days, measure, unpriced, charts, empty } = stamp("spent");
	const draw = async () => {
		const kinds = Object.keys(TITLES);
		const found = await Promise.all(kinds.map((by) => attempt(`usage?${query({ by, days: days.value })}`)));
		if (!found.every(Boolean)) return;
		const [value, told] = measure.value === "cost" ? [(row) => row.cost_usd ?? 0, dollars] : [tokensOf, inTokens];
		const missing = found[0].reduce((sum, row) => sum + (row.unpriced_calls ?? 0), 0);
		unpriced.textContent = missing ? `The price of ${number(missing)} model calls is unknown: they are not in the cost.` : "";
		empty.hidden = found[0].length > 0;
		charts.replaceChildren(...(found[0].length ? kinds.map((by, at) => chart(by, found[at], value, told, Number(days.value))) : []));
	};
	days.onchange = measure.onchange = draw;
	draw();
	api("me").then(({ limits = {}, used_today: used = {} }) => today.replaceChildren(
		meter("Cost today", used.cost_usd ?? 0, limits.cost_usd_per_day, dollars), meter("Tokens today", used.tokens ?? 0, limits.tokens_per_day, inTokens)), () => {});
	return node;
}

/** What is left of the day. */
function meter(title, spent, limit, told) {
	const parts = stamp("meter", { title, spent: told(spent), left: limit ? `${told(Math.max(0, limit - spent))} left of ${told(limit)}` : "no limit is set" });
	if (limit) Object.assign(parts.meter, { max: limit, high: limit * 0.8, value: spent, ariaLabel: title });
	else parts.meter.remove();
	return parts.node;
}

function chart(by, rows, value, told, days) {
	const parts = stamp("chart", { title: TITLES[by], by: TITLES[by].slice(3) });
	parts.node.classList.add(`by-${by}`);
	parts.chart.append(by === "day" ? columns(everyDay(rows, days), value, told) : bars(by, rows, value, told));
	parts.rows.append(...rows.map((row) => el("tr", {}, [nameOf(row, by), number(row.input_tokens ?? 0), number(row.output_tokens ?? 0), dollars(row.cost_usd), number(row.model_calls ?? 0)].map((each) => el("td", {}, each)))));
	return parts.node;
}

/** Days without a use are days, too. */
function everyDay(rows, days) {
	const found = new Map(rows.map((row) => [row.day, row]));
	const last = Math.max(Date.now(), ...rows.map((row) => Date.parse(row.day)));
	return Array.from({ length: days }, (_, at) => new Date(last - (days - 1 - at) * DAY_MS).toISOString().slice(0, 10)).map((day) => found.get(day) ?? { day });
}

function columns(rows, value, told) {
	const most = Math.max(...rows.map(value)) || 1;
	const wide = 100 / rows.length;
	const line = (y) => el("line", { x1: 0, x2: "100%", y1: y + 0.5, y2: y + 0.5 });
	const label = (words, x, y, anchor) => el("text", { x, y, "text-anchor": anchor }, words);
	return el("svg", { height: HEIGHT + 20, width: "100%", role: "img", "aria-label": `Columns from ${rows[0].day} to ${rows.at(-1).day}, at most ${told(most)} a day` },
		line(18), line(HEIGHT),
		rows.map((row, at) => {
			const height = (value(row) / most) * (HEIGHT - 18);
			return el("rect", { x: `${(at + 0.15) * wide}%`, width: `${wide * 0.7}%`, y: HEIGHT - height, height, rx: 2 }, el("title", {}, `${row.day}: ${told(value(row))}`));
		}),
		label(told(most), 0, 12, "start"), label(rows[0].day, 0, HEIGHT + 16, "start"), label(rows.at(-1).day, "100%", HEIGHT + 16, "end"));
}

function bars(by, rows, value, told) {
	const most = Math.max(...rows.map(value)) || 1;
	const bar = (row) => el("svg", { width: "100%", height: 8, "aria-hidden": "true" }, el("rect", { class: "track", width: "100%", height: 8, rx: 4 }), el("rect", { width: `${(value(row) / most) * 100}%`, height: 8, rx: 4 }));
	return el("ul", { className: "bars" }, rows.toSorted((one, other) => value(other) - value(one)).map((row) => el("li", {},
		el("span", {}, nameOf(row, by)), el("span", { className: "hint" }, told(value(row))), bar(row))));
}
