// The ledger's events, and whether its journals are what was written.
import { ask, at, date, h, number, t, trying } from "./common.js";

const form = at("filters");
const body = at("events").tBodies[0];
let after = null;
let names = {};

const told = (content) => Object.entries(content).filter(([name, value]) => !["event", "user", "key", "number", "happened"].includes(name) && value !== null && typeof value !== "object").map(([name, value]) => `${name}: ${value}`).join(" · ");

const show = (fresh) => trying(async () => {
  if (fresh) after = null;
  const page = await ask("/events", { facts: { ...Object.fromEntries(new FormData(form)), limit: 100, after } });
  if (fresh) body.replaceChildren();
  body.append(...page.rows.map((each) => h("tr", {}, h("td", { class: "tight" }, date(each.at)), h("td", {}, each.line), h("td", { class: "mono" }, each.event), h("td", {}, each.user ? names[each.user] ?? each.user : ""), h("td", {}, each.text ?? told(each.content)))));
  after = page.after;
  at("more").hidden = after === null;
});

const verify = h("button", { type: "button", onclick: async () => {
  verify.disabled = true;
  verify.textContent = t("audit.verifying");
  await trying(async () => {
    const found = await ask("/audit");
    list.replaceChildren(...found.map((each) => h("p", { class: each.whole ? "note" : "note bad" }, h("strong", {}, each.line), ": ", each.whole ? t("audit.whole") : t("audit.broken", { problem: each.first_break }), ` · ${t("audit.records", { count: number(each.records) })}`, h("br"), h("span", { class: "mono" }, `${t("audit.head")} ${each.line}:${each.sequence}:${each.chain}`))));
  });
  verify.disabled = false;
  verify.textContent = t("audit.verify");
} }, t("audit.verify"));
const list = h("div", {});
at("journals").append(h("h2", {}, t("audit.journals")), list, verify);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  show(true);
});
form.addEventListener("change", () => show(true));
at("more").addEventListener("click", () => show(false));
await trying(async () => {
  names = await ask("/names");
  at("who").append(...Object.entries(names).map(([id, name]) => h("option", { value: id }, name)));
});
show(true);
