// Forms of a card: a tool's arguments by their JSON schema, and a rule with its bounds.

import { count, dayOf, el, exact, stamp, visible } from "./dom.js";

const LONG = 60;
const LONGEST_PATTERN = 200;
const DAY_MS = 86_400_000;

/** Return a schema with what it refers to, and without that it may be null. */
function resolved(schema, root, depth = 0) {
	const place = schema.$ref?.replace("#/", "").split("/");
	const kinds = (schema.anyOf ?? schema.oneOf ?? []).filter((each) => each.type !== "null");
	const inner = place ? place.reduce((at, name) => at?.[name], root) : kinds.length === 1 && kinds[0];
	return inner && depth < 8 ? { ...schema, anyOf: 0, oneOf: 0, $ref: 0, ...resolved(inner, root, depth + 1) } : schema;
}

const json = (value) => JSON.stringify(value, null, 1);

/** Return the choices of an argument that has few; undefined where it has many. */
function choicesOf({ enum: values, type }) {
	return Array.isArray(values) ? values : type === "boolean" ? [true, false] : undefined;
}

/** Return an argument's input, and how its value is read; where it cannot be, why is thrown. */
function inputFor(name, schema, given) {
	const values = choicesOf(schema);
	if (values) {
		const chosen = values.findIndex((value) => json(value) === json(given));
		const option = (text, value) => el("option", { value, selected: value === chosen }, text);
		const input = el("select", {}, chosen < 0 ? option("not given", -1) : [], values.map((value, at) => option(exact(value), at)));
		return { input, read: () => values[input.value] };
	}
	const isLines = schema.type === "array" && schema.items?.type === "string" && !given?.some((each) => /\n|^$/.test(each));
	const isText = schema.type === "string" && typeof (given ?? "") === "string";
	const shown = given === undefined ? "" : isLines ? given.join("\n") : isText ? given : json(given);
	const isShort = !isLines && !/\n/.test(shown) && shown.length < LONG;
	const input = el(isShort ? "input" : "textarea", { value: shown, spellcheck: false, autocomplete: "off", ...(isShort ? {} : { rows: Math.min(12, shown.split("\n").length + 1) }) });
	const parse = () => {
		try {
			return JSON.parse(input.value);
		} catch {
			throw new Error(`${name}: “${input.value}” is no ${/number|integer/.test(schema.type) ? "number" : "JSON"}.`);
		}
	};
	const value = () => (isLines ? input.value.split("\n").filter(Boolean) : isText ? input.value : parse());
	return { input, hint: isLines ? "one a line" : isText ? "" : `as ${schema.type ?? "JSON"}`, read: () => (input.value === "" && !(given && isText) ? undefined : value()) };
}

/** Make a form of a call's arguments; what was not touched stays exactly as it was. */
export function argumentsForm(args, schema = {}) {
	const names = [...new Set([...Object.keys(args), ...Object.keys(schema.properties ?? {})])];
	const fields = names.map((name) => {
		const guessed = typeof args[name] === "string" ? { type: "string" } : {};
		const its = resolved(schema.properties?.[name] ?? guessed, schema);
		const { input, hint, read } = inputFor(name, its, args[name]);
		const unseen = typeof args[name] === "string" && exact(args[name]) !== args[name] ? `Not all of it can be seen: ${exact(args[name])}` : "";
		const field = stamp("field", { label: name, hint: [its.description, hint, unseen].filter(Boolean).join(" · ") });
		field.label.after(input);
		let touched = false;
		input.oninput = () => { touched = true; };
		return { name, node: field.node, read: () => (touched ? read() : args[name]) };
	});
	const read = () => {
		const values = fields.map((each) => [each.name, each.read()]).filter(([, value]) => value !== undefined);
		const missing = schema.required?.filter((name) => !values.some(([given]) => given === name)) ?? [];
		if (missing.length) throw new Error(`${missing.join(", ")} must be given.`);
		return Object.fromEntries(values);
	};
	return { nodes: fields.map(({ node }) => node), read };
}

const escaped = (value) => value.replace(/[*?[]/g, "[$&]");

/** Make one argument's bound: how it must be for a call to run unasked. */
function bound([name, value], changed) {
	const texts = [value].flat();
	if (!texts.length || texts.some((each) => typeof each !== "string")) {
		return { name, node: el("p", { className: "hint" }, `${visible(name)} may be anything: only texts can be bounded.`), pattern: () => null };
	}
	const [first] = texts;
	const isLong = first.length > LONGEST_PATTERN || first.includes("\n");
	const canBeExact = texts.every((each) => each === first) && !isLong && exact(first) === first;
	const { node, way, box, pattern } = stamp("bound", { label: name, of: name });
	if (!canBeExact) way.firstElementChild.remove();
	way.value = canBeExact ? "exact" : isLong ? "any" : "like";
	pattern.value = canBeExact ? escaped(first) : "";
	node.oninput = () => {
		box.hidden = way.value !== "like";
		changed();
	};
	box.hidden = way.value !== "like";
	return {
		name,
		node,
		pattern: () => ({ exact: escaped(first), like: pattern.value, any: null })[way.value],
		words: () => `${visible(name)} ${{ exact: `is exactly “${first}”`, like: `matches “${visible(pattern.value)}”`, any: "is anything" }[way.value]}`,
	};
}

/** Make the form of a rule: which further calls are to run unasked. */
export function ruleForm({ name, args }) {
	const parts = stamp("always");
	const { until, uses, words } = parts;
	const bounds = Object.entries(args).map((each) => bound(each, () => tell()));
	const end = () => (until.value ? new Date(Date.now() + until.value * DAY_MS) : null);
	const tell = () => {
		const held = bounds.map((each) => each.words?.()).filter(Boolean).join(", and ");
		words.textContent = `From now on ${visible(name)} runs without asking where ${held}: ${uses.value ? `at most ${count(Number(uses.value), "more time")}` : "any number of times"}, ${end() ? `until ${dayOf(end() / 1000)}` : "for good"}.`;
	};
	const read = () => {
		const where = Object.fromEntries(bounds.map((each) => [each.name, each.pattern()]).filter(([, pattern]) => pattern !== null));
		if (!Object.keys(where).length) throw new Error("Say of at least one argument how it must be: else every call would run unasked.");
		if (Object.values(where).includes("")) throw new Error("A pattern is empty: write one, or say that it may be anything.");
		const often = uses.value.trim() ? Number(uses.value) : null;
		if (often !== null && !(Number.isInteger(often) && often > 0)) throw new Error(`How often: “${uses.value}” is no whole number above 0.`);
		return { where, until: end()?.toISOString() ?? null, uses: often };
	};
	parts.form.append(...bounds.map(({ node }) => node));
	uses.oninput = until.oninput = tell;
	tell();
	return { ...parts, read };
}
