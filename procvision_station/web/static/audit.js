// The ledger's events, and whether its journals are what was written.
import { ask, at, date, eventName, frame, h, number, obey, percent, remember, t, trying } from "./common.js";

const form = at("filters");
const body = at("events").tBodies[0];
let after = null;
let names = {};

// Numbers of runs and the like are for programs, which ask the interface.
const SILENT = ["event", "user", "key", "number", "happened", "run", "station", "line", "product", "recovered", "sequence"];
const word = (name, value) => (name === "role" ? t(`role.${value}`) : name === "recipe_version" ? t("audit.version", { version: String(value).slice(0, 12) }) : `${name.replaceAll("_", " ")}: ${value}`);
const told = (content) => Object.entries(content).filter(([name, value]) => !SILENT.includes(name) && value !== null && value !== "" && typeof value !== "object").map(([name, value]) => (name === "subject" || name === "why" || name === "recipe" ? String(names[value] ?? value) : word(name, value))).join(" · ");

const show = (fresh) => trying(async () => {
  if (fresh) after = null;
  const page = await ask("/events", { facts: { ...Object.fromEntries(new FormData(form)), limit: 100, after } });
  if (fresh) body.replaceChildren();
  body.append(...page.rows.map((each) => h("tr", {}, h("td", { class: "tight" }, date(each.at)), h("td", {}, each.line === "_station" ? t("audit.station") : each.line), h("td", { class: "strong" }, eventName(each.event)), h("td", {}, each.user ? names[each.user] ?? each.user : ""), h("td", {}, each.text ?? told(each.content)))));
  after = page.after;
  at("more").hidden = after === null;
  at("none").hidden = body.rows.length > 0;
});

const journalName = (line) => (line === "_station" ? t("audit.station") : line);
const journal = (each) => h("p", { class: each.first_break ? "note bad" : "note" }, h("strong", {}, journalName(each.line)), ": ",
  each.first_break ? t("audit.broken", { problem: each.first_break }) : each.done ? t("audit.whole") : t("audit.so_far", { percent: percent(each.progress) }), ` · ${t("audit.records", { count: number(each.records) })}`,
  each.done ? [h("br"), h("span", { class: "mono" }, `${t("audit.head")} ${each.line}:${each.sequence}:${each.chain}`)] : null);
const verify = h("button", { type: "button", onclick: async () => {
  verify.disabled = true;
  verify.textContent = t("audit.verifying");
  await trying(async () => {
    // Each answer is a part of it.
    let found = await ask("/audit", { facts: { anew: true } });
    list.replaceChildren(...found.map(journal));
    while (!found.every(({ done }) => done)) {
      found = await ask("/audit");
      list.replaceChildren(...found.map(journal));
    }
  });
  verify.disabled = false;
  verify.textContent = t("audit.verify");
} }, t("audit.verify"));
const list = h("div", {});
at("journals").append(h("h2", {}, t("audit.journals")), h("p", { class: "soft" }, t("audit.verifies")), list, verify);
const kinds = Object.keys(frame.texts).filter((name) => name.startsWith("event.")).map((name) => [name.slice("event.".length), frame.texts[name]]);
at("kinds").append(...kinds.sort(([, one], [, other]) => one.localeCompare(other)).map(([event, name]) => h("option", { value: event }, name)));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  remember(form);
  show(true);
});
form.addEventListener("change", () => form.requestSubmit());
at("more").addEventListener("click", () => show(false));
await trying(async () => {
  names = await ask("/names");
  at("who").append(...Object.entries(names).map(([id, name]) => h("option", { value: id }, name)));
});
obey(form);
show(true);
