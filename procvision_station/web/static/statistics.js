// Charts that the server draws, and the numbers beside them.
import { ask, at, date, h, number, obey, percent, remember, t, trying } from "./common.js";

const form = at("filters");
let measure = new URLSearchParams(location.search).get("measure") ?? "";
const drawn = (svg) => document.importNode(new DOMParser().parseFromString(svg, "image/svg+xml").documentElement, true);
// Letters of a drawing shrink with it: that there is nothing is said beside it.
const empty = (text) => h("p", { class: "empty" }, text);
const chart = (svg) => {
  const made = drawn(svg);
  return made.querySelector("rect, path, circle") ? made : empty(t("chart.empty"));
};
const counter = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
const key = (kind, text) => h("span", {}, h("span", { class: `key ${kind}` }), text);

const span = () => {
  const { line, hours } = Object.fromEntries(new FormData(form));
  const until = new Date();
  return { line, since: new Date(until - hours * 3600e3).toISOString(), until: until.toISOString() };
};

const trend = () => trying(async () => {
  const chosen = at("measure").selectedOptions[0]?.dataset;
  if (!chosen?.name) {
    at("trend").replaceChildren(empty(t("statistics.no_measures")));
    return;
  }
  const facts = { ...span(), line: chosen.line, recipe: chosen.recipe, step: chosen.step, name: chosen.name };
  at("trend").replaceChildren(chart(await ask("/statistics/trend.svg", { facts })));
});

const show = () => trying(async () => {
  const by = new FormData(form).get("by");
  const facts = span();
  const [all, groups, yields, pareto, measures] = await Promise.all([
    ask("/statistics/counts", { facts }), ask("/statistics/counts", { facts: { ...facts, by } }), ask("/statistics/yield.svg", { facts: { ...facts, by } }),
    ask("/statistics/pareto.svg", { facts }), ask("/statistics/measures", { facts })]);
  const sum = all[0] ?? { ok: 0, ng: 0, error: 0, elapsed_ms: 0 };
  const total = sum.ok + sum.ng + sum.error;
  at("totals").replaceChildren(counter(t("statistics.yield_short"), percent(total ? sum.ok / total : null)), counter(t("statistics.products"), number(total)),
    counter("OK", number(sum.ok)), counter("NG", number(sum.ng)), counter("ERROR", number(sum.error)), counter(t("statistics.elapsed"), total ? `${number(sum.elapsed_ms)} ms` : "–"));
  at("yield").replaceChildren(chart(yields), !total ? "" : h("p", { class: "legend" }, key("ok", "OK"), key("ng", "NG"), key("error", "ERROR"), key("line", t("statistics.yield_short"))));
  at("pareto").replaceChildren(chart(pareto));
  at("counts").replaceChildren(...groups.filter((each) => each.ok + each.ng + each.error).reverse().slice(0, 200).map((each) => h("tr", {}, h("td", { class: by === "quarter" ? "tight" : null }, by === "quarter" ? date(each.since).slice(0, -3) : each.group), h("td", { class: "n" }, number(each.ok)), h("td", { class: "n" }, number(each.ng)),
    h("td", { class: "n" }, number(each.error)), h("td", { class: "n" }, percent(each.ok / (each.ok + each.ng + each.error))), h("td", { class: "n tight" }, `${number(each.elapsed_ms, 1)} ms`))));
  const value = (each) => [each.line, each.recipe, each.step, each.name].join("/");
  at("measure").replaceChildren(...measures.map((each) => h("option", { value: value(each), "data-line": each.line, "data-recipe": each.recipe, "data-step": each.step, "data-name": each.name },
    t("statistics.measure_of", { name: each.name, step: each.step + 1, recipe: each.recipe, line: each.line }))));
  // What the address asks for is shown, and nothing else in its place where it wasn't measured.
  if (measure && !measures.some((each) => value(each) === measure)) at("measure").append(h("option", { value: measure }, measure));
  if (measure) at("measure").value = measure;
  at("measure").disabled = at("measure").options.length === 0;
  await trend();
});

form.addEventListener("change", () => {
  remember(form, { measure });
  show();
});
form.addEventListener("submit", (event) => event.preventDefault());
at("measure").addEventListener("change", () => {
  measure = at("measure").value;
  remember(form, { measure });
  trend();
});
obey(form);
show();
