// A form for a recipe's parameters, made from their declarations in the algorithm's manifest: a field by type, its
// bounds and unit beside it, what is wrong with a value below it. Empty leaves a parameter to its default.
import { ask, h, number, say, t } from "./common.js";

const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const words = (value) => (typeof value === "boolean" ? t(value ? "recipes.yes" : "recipes.no") : plain(value));
const wholeDefault = (declared) => ("default" in declared ? t("recipes.default_is", { value: words(declared.default) }) : t(declared.required ? "recipes.required" : "recipes.left_out"));

const bounds = (declared) => {
  const { min = null, max = null, unit = "", min_length: shortest, max_length: longest } = declared;
  const from = min ?? shortest ?? null;
  const to = max ?? longest ?? null;
  const kind = min === null && max === null && (shortest || longest) ? t("recipes.characters") : unit;
  if (from === null && to === null) return unit;
  if (to === null) return t("recipes.at_least", { low: number(from, 6), unit: kind });
  return from === null ? t("recipes.at_most", { high: number(to, 6), unit: kind }) : t("recipes.from_to", { low: number(from, 6), high: number(to, 6), unit: kind });
};

class Wrong extends Error {}

const numberOf = (text, declared) => {
  const value = Number(text.trim().replace(",", "."));
  if (text.trim() === "" || !Number.isFinite(value)) throw new Wrong(t("recipes.no_number"));
  if (declared.type === "int" && !Number.isSafeInteger(value)) throw new Wrong(t("recipes.no_whole_number"));
  if (declared.min !== undefined && declared.min !== null && value < declared.min) throw new Wrong(t("recipes.too_small", { bound: number(declared.min, 6) }));
  if (declared.max !== undefined && declared.max !== null && value > declared.max) throw new Wrong(t("recipes.too_large", { bound: number(declared.max, 6) }));
  return value;
};

const itemOf = (text, declared) => {
  const of = { ...declared, type: declared.of };
  if (of.type === "int" || of.type === "float") return numberOf(text, of);
  if (of.type !== "bool") return text;
  if (text !== "true" && text !== "false") throw new Wrong(t("recipes.no_truth"));
  return text === "true";
};

// Each kind: its element, what stands in it for a value, and the value that stands in it; undefined for none.
const KINDS = {
  numeric: (declared, facts) => {
    const input = h("input", { ...facts, type: "text", inputmode: declared.type === "int" ? "numeric" : "decimal", autocomplete: "off", placeholder: "default" in declared ? plain(declared.default) : "" });
    return { element: input, put: (value) => (input.value = value === undefined ? "" : plain(value)), take: () => (input.value.trim() === "" ? undefined : numberOf(input.value, declared)) };
  },
  choice: (options) => (declared, facts) => {
    const input = h("select", facts, h("option", { value: "" }, wholeDefault(declared)), options(declared).map(([name], place) => h("option", { value: String(place) }, name)));
    const values = options(declared).map(([, value]) => value);
    return { element: input, put: (value) => (input.value = value === undefined ? "" : String(values.indexOf(value))), take: () => (input.value === "" ? undefined : values[Number(input.value)]) };
  },
  text: (declared, facts) => {
    const input = h("input", { ...facts, type: "text", autocomplete: "off", spellcheck: "false", placeholder: "default" in declared ? plain(declared.default) : "" });
    return { element: input, put: (value) => (input.value = value ?? ""), take: () => (input.value === "" ? undefined : input.value) };
  },
  rect: (declared, facts) => {
    const sides = ["x", "y", "width", "height"];
    const { id, ...others } = facts;
    const inputs = sides.map((side, place) => h("input", { ...others, id: place ? null : id, type: "text", inputmode: "decimal", autocomplete: "off", "aria-label": `${declared.key} ${side}`, placeholder: "default" in declared ? plain(declared.default[side]) : side }));
    return {
      element: h("span", { class: "rect-fields" }, inputs.map((input, place) => h("span", {}, h("span", { class: "soft", "aria-hidden": "true" }, sides[place]), input))),
      put: (value) => inputs.forEach((input, place) => (input.value = value === undefined ? "" : plain(value[sides[place]]))),
      take: () => (inputs.every((input) => input.value.trim() === "") ? undefined : Object.fromEntries(inputs.map((input, place) => [sides[place], numberOf(input.value, { type: "float", min: 0 })]))),
    };
  },
  list: (declared, facts) => {
    const input = h("textarea", { ...facts, rows: "3", spellcheck: "false", placeholder: "default" in declared ? declared.default.map(plain).join("\n") : "" });
    return {
      element: input,
      put: (value) => (input.value = value === undefined ? "" : value.map(plain).join("\n")),
      take: () => (input.value.trim() === "" ? undefined : input.value.split("\n").filter((line) => line.trim() !== "").map((line) => itemOf(line.trim(), declared))),
    };
  },
  object: (declared, facts) => {
    const input = h("textarea", { ...facts, rows: "4", class: "mono", spellcheck: "false", placeholder: "default" in declared ? plain(declared.default) : "{}" });
    return {
      element: input,
      put: (value) => (input.value = value === undefined ? "" : JSON.stringify(value, null, 2)),
      take: () => {
        if (input.value.trim() === "") return undefined;
        try {
          return JSON.parse(input.value);
        } catch {
          throw new Wrong(t("recipes.no_json"));
        }
      },
    };
  },
};
const MAKERS = {
  int: KINDS.numeric,
  float: KINDS.numeric,
  bool: KINDS.choice(() => [[t("recipes.yes"), true], [t("recipes.no"), false]]),
  enum: KINDS.choice((declared) => declared.choices.map((choice) => [choice, choice])),
  string: KINDS.text,
  rect: KINDS.rect,
  list: KINDS.list,
  object: KINDS.object,
};

const field = (recipe, place, each) => {
  const { declared } = each;
  const id = `p-${recipe.name}-${place}-${each.key}`;
  const made = MAKERS[each.type](declared, { id, "aria-describedby": `${id}-about ${id}-wrong` });
  const wrong = h("p", { class: "wrong", id: `${id}-wrong`, role: "alert", hidden: true });
  const changed = h("span", { class: "changed", hidden: true }, t("recipes.changed"));
  const before = each.given ? each.value : undefined;
  const limits = [bounds(declared), each.type === "list" ? t("recipes.one_a_line") : "", each.type === "bool" || each.type === "enum" ? "" : wholeDefault(declared)].filter(Boolean).join(" · ");
  const complain = (text) => {
    wrong.textContent = text;
    wrong.hidden = !text;
    for (const input of element.querySelectorAll("input, select, textarea")) input.toggleAttribute("aria-invalid", Boolean(text));
  };
  const look = () => {
    try {
      const value = made.take();
      if (value === undefined && declared.required) throw new Wrong(t("recipes.required"));
      complain("");
      changed.hidden = JSON.stringify(value) === JSON.stringify(before);
      return { value, right: true };
    } catch (error) {
      if (!(error instanceof Wrong)) throw error;
      complain(error.message);
      changed.hidden = false;
      return { right: false };
    }
  };
  const element = h("div", { class: "field", "data-key": each.key, onchange: look }, h("label", { for: id }, each.key, changed),
    h("div", { class: "value" }, made.element),
    h("p", { class: "about", id: `${id}-about` }, each.description, limits ? h("span", { class: "soft" }, each.description ? " — " : "", limits) : null), wrong);
  made.put(before);
  return { key: each.key, place, element, look, complain, different: () => !changed.hidden, focus: () => element.querySelector("input, select, textarea").focus() };
};

/** A form in which an engineer changes a recipe's parameters. `done` is called when the change is recorded. */
export const parameterForm = (recipe, done) => {
  const fields = recipe.steps.map((step, place) => step.parameters.map((each) => field(recipe, place, each)));
  const all = fields.flat();
  const why = h("input", { required: true, maxlength: "4000", autocomplete: "off", id: `p-${recipe.name}-why`, "aria-describedby": `p-${recipe.name}-told` });
  const told = h("p", { class: "wrong", role: "alert", id: `p-${recipe.name}-told`, hidden: true });
  const button = h("button", { type: "submit" }, t("recipes.save"));
  const tell = (text) => {
    told.textContent = text;
    told.hidden = !text;
  };
  const send = async () => {
    const looked = all.map((each) => [each, each.look()]);
    const first = looked.find(([, { right }]) => !right);
    if (first) return first[0].focus();
    const wanted = recipe.steps.map(() => ({}));
    for (const [each, { value }] of looked) if (each.different()) wanted[each.place][each.key] = value === undefined ? null : value;
    if (wanted.every((values) => Object.keys(values).length === 0)) return tell(t("recipes.nothing_changed"));
    if (!why.value.trim()) {
      tell(t("recipes.why_needed"));
      return why.focus();
    }
    tell("");
    button.disabled = true;
    try {
      await ask(`/recipes/${encodeURIComponent(recipe.name)}/parameters`, { method: "PUT", body: { steps: wanted, was: recipe.version, why: why.value.trim() } });
      say(t("recipes.saved"));
      done();
    } catch (error) {
      const problems = error.body?.fields ?? [];
      for (const { step, key, problem } of problems) all.find((each) => each.place === step && each.key === key)?.complain(problem);
      const wrong = all.find((each) => problems.some(({ step, key }) => each.place === step && each.key === key));
      if (wrong) wrong.focus();
      else tell(error.message);
    } finally {
      button.disabled = false;
    }
    return undefined;
  };
  return h("form", { class: "parameters", novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    send();
  } },
  recipe.steps.map((step, place) => h("fieldset", {}, h("legend", {}, t("recipes.step", { step: place + 1, camera: step.camera, algorithm: `${step.algorithm} ${step.version}` })),
    fields[place].length ? fields[place].map(({ element }) => element) : h("p", { class: "soft" }, t("recipes.no_parameters")))),
  h("div", { class: "field" }, h("label", { for: why.id }, t("recipes.why_change")), h("div", { class: "value" }, why), told),
  h("div", { class: "actions" }, button));
};
