// Recipes: parameters with their bounds, versions, and what differs.
import { ask, at, date, frame, h, may, say, t, trying } from "./common.js";

const home = at("recipes");
let names = {};
const value = (each) => (each.given ? JSON.stringify(each.value) : t("recipes.default", { value: JSON.stringify(each.value) }));

const stepTable = (step, place) => [
  h("h3", {}, t("recipes.step", { step: place + 1, camera: step.camera, algorithm: `${step.algorithm} ${step.version}` })),
  h("div", { class: "scroll" }, h("table", { class: "rows" }, h("thead", {}, h("tr", {}, [t("recipes.parameter"), t("recipes.value"), t("recipes.bounds"), t("recipes.meaning")].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, step.parameters.map((each) => h("tr", {}, h("td", { class: "mono" }, each.key), h("td", { class: each.given ? "mono" : "mono soft" }, value(each)), h("td", { class: "soft" }, each.bounds), h("td", {}, each.description))))))];

const differing = ({ lines, whole }) => {
  const changed = lines.some((line) => line[0] !== " ");
  if (!changed) return h("p", { class: "soft" }, t("recipes.same"));
  return h("div", {}, whole ? null : h("p", { class: "soft" }, t("recipes.no_text")),
    h("pre", { class: "difference", tabindex: "0" }, lines.map((line) => h("span", { class: { "+": "added", "-": "removed" }[line[0]] }, line))));
};

const history = (recipe, again) => {
  const shown = h("div", {});
  const rows = h("tbody", {});
  const path = `/recipes/${encodeURIComponent(recipe.name)}`;
  trying(async () => {
    const page = await ask(`${path}/versions`);
    rows.append(...page.rows.map((row) => h("tr", {}, h("td", { class: "tight" }, date(row.at)), h("td", { class: "mono" }, row.version), h("td", {}, row.line), h("td", {}, row.user ? names[row.user] ?? row.user : ""), h("td", {}, row.why ?? ""),
      h("td", {}, h("div", { class: "actions" },
        h("button", { type: "button", class: "quiet", onclick: () => trying(async () => shown.replaceChildren(differing(await ask(`${path}/difference`, { facts: { old: row.version } })))) }, t("recipes.compare")),
        may("engineer") && row.text !== null && row.version !== recipe.version ? h("button", { type: "button", class: "quiet", onclick: () => {
          const why = prompt(t("recipes.back_why"));
          if (why) trying(async () => {
            await ask(path, { method: "PUT", body: { text: row.text, was: recipe.version, why } });
            say(t("recipes.saved"));
            again();
          });
        } }, t("recipes.back")) : null)))));
  });
  return h("details", {}, h("summary", {}, t("recipes.history")), h("div", { class: "scroll" }, h("table", { class: "rows" }, h("thead", {}, h("tr", {}, [t("recipes.taken"), t("recipes.version", { version: "" }), t("common.line"), t("recipes.user"), t("recipes.why"), ""].map((name) => h("th", { scope: "col" }, name)))), rows)), shown);
};

const editor = (recipe, again) => {
  const text = h("textarea", { class: "code", spellcheck: "false", "aria-label": t("recipes.text") });
  text.value = recipe.text;
  const why = h("input", { required: true, maxlength: "4000", "aria-label": t("recipes.why_change"), placeholder: t("recipes.why_change") });
  const told = h("div", { role: "status" });
  const path = `/recipes/${encodeURIComponent(recipe.name)}`;
  const check = () => trying(async () => {
    const { problems } = await ask(`${path}/check`, { method: "POST", body: { text: text.value } });
    told.replaceChildren(...(problems.length ? problems.map((problem) => h("p", { class: "note bad" }, problem)) : [h("p", { class: "note" }, t("recipes.good"))]));
    return problems.length === 0;
  });
  return h("details", {}, h("summary", {}, t("recipes.edit")), h("form", { class: "stack", onsubmit: async (event) => {
    event.preventDefault();
    if (!(await check())) return;
    await trying(async () => {
      await ask(path, { method: "PUT", body: { text: text.value, was: recipe.version, why: why.value } });
      say(t("recipes.saved"));
      again();
    });
  } }, text, told, why, h("div", { class: "actions" }, h("button", { type: "submit" }, t("recipes.save")), h("button", { type: "button", class: "quiet", onclick: check }, t("recipes.check")))));
};

const choice = (recipe, again) => {
  const others = frame.lines.filter((line) => !recipe.lines.includes(line));
  if (!may("engineer") || recipe.problems.length || !others.length) return null;
  return h("p", { class: "actions" }, others.map((line) => h("button", { type: "button", class: "quiet", onclick: () => {
    const why = prompt(t("recipes.choose_why", { line, recipe: recipe.name }));
    if (why) trying(async () => {
      await ask(`/lines/${encodeURIComponent(line)}/recipe`, { method: "POST", body: { recipe: recipe.name, why } });
      say(t("recipes.saved"));
      again();
    });
  } }, t("recipes.choose", { line }))));
};

const show = () => trying(async () => {
  names = await ask("/names");
  const recipes = await ask("/recipes");
  home.replaceChildren(...recipes.map((recipe) => h("section", { class: "card" },
    h("h2", {}, recipe.name, " ", h("span", { class: "soft mono" }, t("recipes.version", { version: recipe.version }))),
    h("p", { class: "soft" }, recipe.lines.length ? `${t("recipes.used")} ${recipe.lines.join(", ")}` : t("recipes.unused"), recipe.product ? ` · ${t("recipes.product")}: ${recipe.product}` : ""),
    recipe.problems.length ? [h("p", { class: "note bad" }, t("recipes.broken")), recipe.problems.map((problem) => h("p", { class: "note bad" }, problem))] : null,
    recipe.steps.map(stepTable), choice(recipe, show), history(recipe, show), may("engineer") ? editor(recipe, show) : null)));
});
show();
