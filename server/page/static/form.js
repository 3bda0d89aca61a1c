// Forms of a card: arguments, and a rule with its bounds.

import { count, el, exact, moment, sentence, stamp, visible } from "./dom.js";

const SHORT = 60;
const LONG = /^(body|content|text)$/i;
const LONGEST_PATTERN = 200;
const DAY_MS = 86_400_000;
const json = (value) => JSON.stringify(value, null, 1);

function inputFor(name, { type, items, format, enum: options }, given) {
	const values = Array.isArray(options) ? options : type === "boolean" && [true, false];
	if (values) {
		const chosen = values.findIndex((value) => json(value) === json(given));
		const option = (text, value) => el("option", { value, selected: value === chosen }, text);
		const input = el("select", {}, chosen < 0 ? option("not given", -1) : [], values.map((value, at) => option(exact(value), at)));
		return { input, read: () => values[input.value] };
	}
	const isLines = type === "array" && items?.type === "string" && !given?.some?.((each) => /\n|^$/.test(each));
	const isText = type === "string" && typeof (given ?? "") === "string";
	const shown = given === undefined ? "" : isLines ? given.join("\n") : isText ? given : json(given);
	const isShort = !isLines && format !== "multiline" && !LONG.test(name) && !shown.includes("\n") && shown.length < SHORT;
	const input = el(isShort ? "input" : "textarea", { value: shown, spellcheck: false, autocomplete: "off", rows: 5 });
	const read = () => {
		const { value } = input;
		if (value === "" && !(given && isText)) return undefined;
		if (isLines) return value.split("\n").filter(Boolean);
		try {
			return isText ? value : JSON.parse(value);
		} catch {
			throw new Error(sentence("not-of-type", name, value, type ?? "JSON"));
		}
	};
	return { input, hint: isLines ? "one a line" : isText ? "" : `as ${type ?? "JSON"}`, read };
}

/** What was not touched stays exactly as it was. */
export function argumentsForm(args, schema = {}) {
	const names = [...new Set([...Object.keys(args), ...Object.keys(schema.properties ?? {})])];
	const fields = names.map((name) => {
		const given = args[name];
		const its = schema.properties?.[name] ?? { type: typeof given };
		const { input, hint, read } = inputFor(name, its, given);
		const { node, label } = stamp("field", { label: name, hint: [its.description, hint] });
		label.after(input);
		let isTouched = false;
		input.ariaLabel = name;
		input.oninput = () => { isTouched = true; };
		return { name, node, read: () => (isTouched ? read() : given) };
	});
	const read = () => {
		const values = fields.map((each) => [each.name, each.read()]).filter(([, value]) => value !== undefined);
		const missing = schema.required?.filter((name) => !values.some(([given]) => given === name)) ?? [];
		if (missing.length) throw new Error(sentence("must-be-given", missing.join(", ")));
		return Object.fromEntries(values);
	};
	return { nodes: fields.map(({ node }) => node), read };
}

export function ruleForm({ name, args }) {
	const parts = stamp("always");
	const { until, uses, words } = parts;
	const bounds = Object.entries(args).map(([argument, value]) => {
		const texts = [value].flat();
		const [first] = texts;
		const isText = texts.length > 0 && texts.every((each) => typeof each === "string");
		const isExact = isText && texts.every((each) => each === first) && first.length <= LONGEST_PATTERN && exact(first) === first && !first.includes("\n");
		const own = isExact ? first.replace(/[*?[]/g, "[$&]") : "";
		const { node, label, hint } = stamp("field", { label: argument, hint: sentence("pattern") });
		const input = el("input", { value: isText ? own : "*", disabled: !isText, ariaLabel: argument, spellcheck: false, autocomplete: "off" });
		if (!isText) hint.textContent = sentence("only-texts");
		label.after(input);
		const told = () => ({ "*": "is anything", "": "…", [own]: `is exactly “${first}”` })[input.value] ?? `matches “${visible(input.value)}”`;
		return { argument, node, input, words: () => `${visible(argument)} ${told()}` };
	});
	const end = () => until.value && new Date(Date.now() + until.value * DAY_MS);
	parts.node.oninput = () => {
		const often = uses.value ? `at most ${count(Number(uses.value), "more time")}` : "any number of times";
		words.textContent = `From now on ${visible(name)} runs without asking where ${bounds.map((each) => each.words()).join(", and ")}: ${often}, ${end() ? `until ${moment(end() / 1000)}` : "for good"}.`;
	};
	parts.read = () => {
		const patterns = bounds.map(({ argument, input }) => [argument, input.value]);
		if (patterns.some(([, pattern]) => !pattern)) throw new Error(sentence("empty-pattern"));
		const where = Object.fromEntries(patterns.filter(([, pattern]) => pattern !== "*"));
		if (!Object.keys(where).length) throw new Error(sentence("no-bound"));
		if (!/^([1-9]\d*)?$/.test(uses.value.trim())) throw new Error(sentence("how-often", uses.value));
		return { where, until: end() ? end().toISOString() : null, uses: Number(uses.value) || null };
	};
	parts.form.append(...bounds.map(({ node }) => node));
	parts.node.oninput();
	return parts;
}
