// What runs, and what is installed beside it.
import { ask, at, date, h, number, t, trying } from "./common.js";

const home = at("versions");
const heads = (...names) => h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name))));
const table = (name, head, rows) => h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": name }, h("table", { class: "rows" }, head, h("tbody", {}, rows)));

const running = (lines) => lines.flatMap(({ line, health, last }) => Object.entries(health.hosts ?? {}).map(([name, host]) => {
  const version = last?.product.steps.find((step) => step.algorithm === name)?.version ?? "";
  return h("tr", {}, h("td", {}, line), h("td", {}, name), h("td", {}, version), h("td", {}, h("span", { class: host.state === "ready" ? "dot" : "dot bad" }), ` ${host.state}`), h("td", { class: "n" }, number(host.restarts ?? 0)));
}));

await trying(async () => {
  const [lines, versions] = await Promise.all([ask("/lines"), ask("/versions")]);
  const active = (pids) => pids.map((pid) => (pid === "*" ? t("versions.everything") : pid)).join(", ");
  home.replaceChildren(
    h("section", { class: "card" }, h("h2", {}, t("versions.running")), table(t("versions.running"), heads(t("versions.line"), t("versions.algorithm"), t("versions.version"), t("versions.state"), t("versions.restarts")), running(lines))),
    h("section", { class: "card" }, h("h2", {}, t("versions.installed")),
      versions.installed.length ? table(t("versions.installed"), heads(t("versions.algorithm"), t("versions.version"), t("versions.active"), t("versions.when"), t("versions.signer"), t("versions.fault")),
        versions.installed.map((each) => h("tr", { class: each.fault ? "outside" : null }, h("td", {}, each.name), h("td", {}, each.version), h("td", {}, active(each.active)), h("td", { class: "tight" }, date(each.installed)), h("td", {}, each.signed_by ?? ""), h("td", {}, each.fault ?? "")))) : h("p", { class: "soft" }, t("versions.none"))),
    versions.history.length ? h("section", { class: "card" }, h("h2", {}, t("versions.history")), table(t("versions.history"), heads(t("common.time"), t("audit.event"), t("versions.algorithm"), t("audit.user"), t("recipes.why")),
      versions.history.map((each) => h("tr", {}, h("td", { class: "tight" }, date(each.at)), h("td", {}, each.event), h("td", {}, `${each.name ?? ""} ${each.version ?? ""}`), h("td", {}, each.by), h("td", {}, each.why ?? each.gate.map(({ title, level }) => `${title}: ${level}`).join(", ")))))) : "");
});
