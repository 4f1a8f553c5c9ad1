// Recipes: parameters with their bounds and a form for them, versions, and what differs.
import { ask, asked, at, date, frame, h, may, say, t, trying } from "./common.js";
import { parameterForm } from "./parameters.js";

const home = at("recipes");
let names = {};
const words = (value) => (typeof value === "boolean" ? t(value ? "recipes.yes" : "recipes.no") : typeof value === "string" ? value : JSON.stringify(value));
const shownValue = ({ given, value }) => (given ? words(value) : value === null ? t("recipes.left_out") : t("recipes.default", { value: words(value) }));

const stepTable = (step, place) => [
  h("h3", {}, t("recipes.step", { step: place + 1, camera: step.camera, algorithm: `${step.algorithm} ${step.version}` })),
  step.parameters.length ? h("div", { class: "scroll" }, h("table", { class: "rows stacked" }, h("thead", {}, h("tr", {}, [t("recipes.parameter"), t("recipes.value"), t("recipes.bounds"), t("recipes.meaning")].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, step.parameters.map((each) => h("tr", {}, h("td", { class: "mono" }, each.key), h("td", { class: each.given ? "strong" : "soft" }, shownValue(each)), h("td", { class: "soft" }, each.bounds), h("td", {}, each.description)))))) : h("p", { class: "soft" }, t("recipes.no_parameters"))];

const differing = ({ lines, whole }) => {
  const changed = lines.some((line) => line[0] !== " ");
  if (!changed) return h("p", { class: "soft" }, t("recipes.same"));
  return h("div", {}, whole ? null : h("p", { class: "soft" }, t("recipes.no_text")),
    h("pre", { class: "difference", tabindex: "0" }, lines.map((line) => h("span", { class: { "+": "added", "-": "removed" }[line[0]] }, line))));
};

const change = (path, method, body, again) => trying(async () => {
  await ask(path, { method, body });
  say(t("recipes.saved"));
  again();
});

const history = (recipe, again) => {
  const shown = h("div", {});
  const rows = h("tbody", {});
  const path = `/recipes/${encodeURIComponent(recipe.name)}`;
  const compare = (row) => trying(async () => {
    shown.replaceChildren(h("h3", {}, t("recipes.difference", { version: row.version })), differing(await ask(`${path}/difference`, { facts: { old: row.version } })));
  });
  const back = async (row) => {
    const why = await asked(t("recipes.back_to", { version: row.version }), t("recipes.back_why"), t("recipes.back"));
    if (why) await change(path, "PUT", { text: row.text, was: recipe.version, why }, again);
  };
  trying(async () => {
    const page = await ask(`${path}/versions`);
    rows.append(...page.rows.map((row) => h("tr", {}, h("td", { class: "tight" }, date(row.at)), h("td", { class: "mono" }, row.version, row.version === recipe.version ? h("span", { class: "badge" }, t("recipes.now")) : null), h("td", {}, row.line), h("td", {}, row.user ? names[row.user] ?? row.user : ""), h("td", {}, row.why ?? ""),
      h("td", {}, row.version === recipe.version ? null : h("div", { class: "actions" },
        h("button", { type: "button", class: "quiet", onclick: () => compare(row) }, t("recipes.compare")),
        may("engineer") && row.text !== null ? h("button", { type: "button", class: "quiet", onclick: () => back(row) }, t("recipes.back")) : null)))));
  });
  return h("details", {}, h("summary", {}, t("recipes.history")), h("div", { class: "scroll" }, h("table", { class: "rows stacked" }, h("thead", {}, h("tr", {}, [t("recipes.taken"), t("recipes.version", { version: "" }), t("common.line"), t("recipes.user"), t("recipes.why")].map((name) => h("th", { scope: "col" }, name)), h("th", { scope: "col" }, h("span", { class: "unseen" }, t("common.actions"))))), rows)), shown);
};

const editor = (recipe, again) => {
  const text = h("textarea", { class: "code", spellcheck: "false", "aria-label": t("recipes.text") });
  text.value = recipe.text;
  const why = h("input", { required: true, maxlength: "4000", autocomplete: "off" });
  const told = h("div", { role: "status" });
  const path = `/recipes/${encodeURIComponent(recipe.name)}`;
  const check = () => trying(async () => {
    const { problems } = await ask(`${path}/check`, { method: "POST", body: { text: text.value } });
    told.replaceChildren(...(problems.length ? problems.map((problem) => h("p", { class: "note bad" }, problem)) : [h("p", { class: "note" }, t("recipes.good"))]));
    return problems.length === 0;
  });
  return h("details", {}, h("summary", {}, t("recipes.edit_file")), h("form", { class: "stack", onsubmit: async (event) => {
    event.preventDefault();
    if (await check()) await change(path, "PUT", { text: text.value, was: recipe.version, why: why.value }, again);
  } }, text, told, h("label", {}, t("recipes.why_change"), why), h("div", { class: "actions" }, h("button", { type: "submit" }, t("recipes.save")), h("button", { type: "button", class: "quiet", onclick: check }, t("recipes.check")))));
};

const choice = (recipe, again) => {
  const others = frame.lines.filter((line) => !recipe.lines.includes(line));
  if (!may("engineer") || recipe.problems.length || !others.length) return null;
  const choose = async (line) => {
    const why = await asked(t("recipes.choose", { line }), t("recipes.choose_why", { line, recipe: recipe.name }), t("recipes.choose", { line }));
    if (why) await change(`/lines/${encodeURIComponent(line)}/recipe`, "POST", { recipe: recipe.name, why }, again);
  };
  return h("p", { class: "actions" }, others.map((line) => h("button", { type: "button", class: "quiet", onclick: () => choose(line) }, t("recipes.choose", { line }))));
};

const form = (recipe, again) => (may("engineer") && !recipe.problems.length && recipe.steps.some((step) => step.parameters.length)
  ? h("details", {}, h("summary", {}, t("recipes.edit")), parameterForm(recipe, again)) : null);

const show = () => trying(async () => {
  names = await ask("/names");
  const recipes = await ask("/recipes");
  home.replaceChildren(...recipes.map((recipe) => h("section", { class: "card", "data-recipe": recipe.name },
    h("h2", {}, recipe.name, " ", h("span", { class: "soft mono" }, t("recipes.version", { version: recipe.version }))),
    h("p", { class: "soft" }, recipe.lines.length ? `${t("recipes.used")} ${recipe.lines.join(", ")}` : t("recipes.unused"), recipe.product ? ` · ${t("recipes.product")}: ${recipe.product}` : ""),
    recipe.problems.length ? [h("p", { class: "note bad" }, t("recipes.broken")), recipe.problems.map((problem) => h("p", { class: "note bad" }, problem))] : null,
    recipe.steps.map(stepTable), choice(recipe, show), form(recipe, show), history(recipe, show), may("engineer") ? editor(recipe, show) : null)));
});
show();
