// Spent: usage by day, person and model, as charts.

import { attempt, query } from "./api.js";
import { dollars, el, number, sentence, stamp, visible } from "./dom.js";

const DAY_MS = 86_400_000;
const TITLES = { day: "By day", user: "By person", model: "By model", role: "By brain" };
const tokensOf = (row) => (row.input_tokens ?? 0) + (row.output_tokens ?? 0);

export function spentView() {
	const { node, today, days, measure, unpriced, charts } = stamp("spent");
	const draw = async () => {
		const kinds = Object.keys(TITLES);
		const found = await Promise.all(kinds.map((by) => attempt(`usage?${query({ by, days: days.value })}`)));
		if (!found.every(Boolean)) return;
		if (!found[0].some((row) => row.cost_usd)) measure.value = "tokens";
		const [value, told] = measure.value === "cost" ? [(row) => row.cost_usd ?? 0, dollars] : [tokensOf, (amount) => `${number(amount)} tokens`];
		const missing = found[0].reduce((sum, row) => sum + (row.unpriced_calls ?? 0), 0);
		unpriced.textContent = missing ? sentence("unpriced", number(missing)) : "";
		charts.replaceChildren(...(found[0].length ? kinds.map((by, at) => chart(by, found[at], value)) : []));
		charts.querySelector(".by-day h2")?.after(columns(everyDay(found[0], days.value), value, told));
	};
	days.onchange = measure.onchange = draw;
	draw();
	attempt("me").then(({ limits, used_today: used }) => today.append(
		meter("Cost today", used.cost_usd, limits.cost_usd_per_day, dollars), meter("Tokens today", used.tokens, limits.tokens_per_day, number)));
	return node;
}

function meter(title, spent, limit, told) {
	const parts = stamp("meter", { title, spent: told(spent), left: limit ? `${told(Math.max(0, limit - spent))} left of ${told(limit)}` : "no limit is set" });
	if (limit) Object.assign(parts.meter, { max: limit, high: limit * 0.8, value: spent, ariaLabel: title });
	else parts.meter.remove();
	return parts.node;
}

function chart(by, rows, value) {
	const { node, rows: body } = stamp("chart", { title: TITLES[by], by: TITLES[by].slice(3) });
	const most = Math.max(...rows.map(value)) || 1;
	const line = (row) => el("tr", {}, el("td", { style: `--part: ${value(row) / most}` }, visible(row[by] ?? row.backend ?? "unknown")),
		[dollars(row.cost_usd), number(tokensOf(row)), number(row.model_calls ?? 0)].map((each) => el("td", {}, each)));
	node.classList.add(`by-${by}`);
	body.append(...(by === "day" ? rows : rows.toSorted((one, other) => value(other) - value(one))).map(line));
	return node;
}

function everyDay(rows, days) {
	const found = new Map(rows.map((row) => [row.day, row]));
	const last = Math.max(Date.now(), ...rows.map((row) => Date.parse(row.day)));
	return Array.from({ length: days }, (_, at) => new Date(last - (days - 1 - at) * DAY_MS).toISOString().slice(0, 10)).map((day) => found.get(day) ?? { day });
}

function columns(rows, value, told) {
	const most = Math.max(...rows.map(value));
	const [first, last] = [rows[0].day, rows.at(-1).day];
	const { node, bars } = stamp("columns", { most: told(most), first, last });
	bars.ariaLabel = `From ${first} to ${last}, at most ${told(most)} a day`;
	bars.append(...rows.map((row) => el("i", { style: `--part: ${value(row) / (most || 1)}` })));
	return node;
}
