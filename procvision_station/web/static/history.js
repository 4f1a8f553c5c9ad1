// Products of the past: filters that stand in the address, and one part of the list after the other.
import { ask, at, date, frame, h, moment, number, obey, picturePath, pill, productPath, remember, t, trying } from "./common.js";

const form = at("filters");
const body = at("products").tBodies[0];
at("products").classList.add("fold");
let after = null;

const facts = () => {
  const found = Object.fromEntries(new FormData(form));
  return { ...found, since: moment(found.since), until: moment(found.until) };
};

const row = (each) => {
  const path = productPath(each.line, each.key);
  const picture = each.picture
    ? h("img", { src: picturePath(each.picture, true), alt: "", loading: "lazy", width: 76, height: 52 })
    : h("span", { class: "nothing" }, t("picture.none_short"));
  const overruled = each.overruled && h("span", { class: "overruled" }, t("history.overruled_to", { verdict: each.overruled }));
  return h("tr", {},
    h("td", { class: "thumb" }, h("a", { href: path, tabindex: "-1", "aria-hidden": "true" }, picture)),
    h("td", { class: "tight told" }, pill(each.told), overruled ? h("br") : null, overruled),
    h("td", { class: "tight when" }, h("a", { href: path }, date(each.triggered_at))),
    h("td", { class: "only-many" }, frame.lines.length > 1 || each.line !== frame.lines[0] ? each.line : ""),
    h("td", {}, each.serial ?? ""),
    h("td", { class: "tight wide-only" }, each.recipe),
    h("td", {}, each.reason),
    h("td", { class: "n tight wide-only" }, `${number(each.elapsed_ms)} ms`));
};

const show = (fresh) => trying(async () => {
  if (fresh) after = null;
  const page = await ask("/products", { facts: { ...facts(), limit: 50, after } });
  if (fresh) body.replaceChildren();
  body.append(...page.rows.map(row));
  after = page.after;
  at("more").hidden = after === null;
  at("none").hidden = body.rows.length > 0;
  const wanted = Object.entries(facts()).filter(([, value]) => value);
  for (const [id, name] of [["csv", "products.csv"], ["jsonl", "products.json"], ["coco", "coco.json"]]) {
    at(id).href = `/api/export/${name}?${new URLSearchParams(wanted)}`;
  }
});

if (frame.lines.length < 2) for (const head of document.querySelectorAll("th.only-many")) head.textContent = "";
form.addEventListener("submit", (event) => {
  event.preventDefault();
  remember(form);
  show(true);
});
form.addEventListener("reset", () => setTimeout(() => {
  remember(form);
  show(true);
}));
for (const choice of form.querySelectorAll("select")) choice.addEventListener("change", () => form.requestSubmit());
at("more").addEventListener("click", () => show(false));

await trying(async () => {
  const labels = await ask("/labels");
  at("labels").append(...labels.map((label) => h("option", {}, label)));
});
obey(form);
show(true);
