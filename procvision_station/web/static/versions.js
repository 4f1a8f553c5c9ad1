// What runs, and what is installed beside it.
import { ask, asked, at, date, h, hostState, may, number, percent, say, send, t, trying } from "./common.js";

const home = at("versions");
const heads = (...names) => h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name))));
const table = (name, head, rows) => h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": name }, h("table", { class: "rows stacked" }, head, h("tbody", {}, rows)));

const running = (lines) => lines.flatMap(({ line, health, last }) => Object.entries(health.hosts ?? {}).map(([name, host]) => {
  const version = host.version ?? last?.product.steps.find((step) => step.algorithm === name)?.version ?? "";
  return h("tr", {}, h("td", {}, line), h("td", {}, name), h("td", {}, version), h("td", {}, h("span", { class: host.state === "ready" ? "dot" : "dot bad" }), ` ${hostState(host.state)}`), h("td", { class: "n" }, number(host.restarts ?? 0)));
}));

/** Ask why, and change what is active; the page waits for the gate. */
const change = async (path, title, question, yes, body) => {
  const why = await asked(title, question, yes);
  if (!why) return;
  say(t("versions.wait"));
  trying(async () => {
    await ask(`/versions/${path}`, { method: "POST", body: { ...body, why } });
    say(t("versions.done"));
    await show();
  });
};
const button = (text, onclick) => h("button", { type: "button", class: "quiet", onclick }, text);
const actions = (each, all) => {
  const one = { name: each.name, version: each.version };
  const grants = [...new Set(all.filter(({ name }) => name === each.name).flatMap((other) => other.grants["*"] ?? []))];
  return h("div", { class: "actions" },
    may("engineer") && !each.active.includes("*") && !each.fault ? button(t("versions.activate"), () => change("activate", t("versions.sure", one), t(grants.length ? "versions.activate_why_grants" : "versions.activate_why", { grants: grants.join(", ") }), t("versions.activate"), { name: each.name, version: each.version, grants })) : null,
    may("operator") ? each.active.map((pid) => button(pid === "*" ? t("versions.rollback") : t("versions.rollback_of", { pid }), () => change("rollback", t("versions.back_sure", { ...one, pid: pid === "*" ? t("versions.everything") : pid }), t("versions.rollback_why"), t("versions.rollback"), { name: each.name, pids: [pid] }))) : null);
};

/** Ask why, hand a bundle over, and wait until it is installed. */
const installed = async (file, work) => {
  const why = await asked(t("bundles.sure", { file }), t("bundles.why"), t("bundles.install"));
  if (!why) return;
  await trying(async () => {
    await work(why);
    say(t("bundles.done"));
    await show();
  });
};
const bundleCard = ({ folder, bundles, max_bytes: most }) => {
  const chosen = h("input", { type: "file", accept: ".zip", id: "bundle" });
  const progress = h("p", { class: "soft", role: "status", id: "sent" });
  const upload = () => {
    const [file] = chosen.files;
    if (!file) return say(t("bundles.choose"), true);
    return installed(file.name, (why) => send("/versions/upload", { file: file.name, why }, file, (share) => {
      progress.textContent = share < 1 ? t("bundles.sent", { percent: percent(share) }) : t("bundles.wait");
    }).finally(() => { progress.textContent = ""; }));
  };
  const size = (bytes) => t("bundles.megabytes", { size: number(bytes / 1e6, 1) });
  return h("section", { class: "card", id: "bundles" }, h("h2", {}, t("bundles.title")), h("p", { class: "soft" }, t("bundles.words")),
    folder === null ? null : table(`${t("bundles.folder")} ${folder}`, heads(t("bundles.folder"), "", t("common.time"), ""), bundles.map((each) =>
      h("tr", {}, h("td", { class: "mono" }, each.file), h("td", { class: "n" }, size(each.bytes)), h("td", { class: "tight" }, date(each.changed)), h("td", {}, button(t("bundles.install"), () => installed(each.file, (why) => {
        say(t("bundles.wait"));
        return ask("/versions/install", { method: "POST", body: { file: each.file, why } });
      })))))),
    h("div", { class: "actions" }, h("label", {}, `${t("bundles.file")} (≤ ${size(most)})`, chosen), h("button", { type: "button", onclick: upload }, t("bundles.upload"))), progress);
};

const show = () => trying(async () => {
  const [lines, versions, names] = await Promise.all([ask("/lines"), ask("/versions"), ask("/names")]);
  const bundles = versions.used && may("administrator") ? await ask("/versions/bundles") : null;
  const active = (pids) => pids.map((pid) => (pid === "*" ? t("versions.everything") : pid)).join(", ");
  const hosts = running(lines);
  home.replaceChildren(
    h("section", { class: "card" }, h("h2", {}, t("versions.running")), hosts.length ? table(t("versions.running"), heads(t("versions.line"), t("versions.algorithm"), t("versions.version"), t("versions.state"), t("versions.restarts")), hosts) : h("p", { class: "soft" }, t("versions.nothing_runs"))),
    h("section", { class: "card" }, h("h2", {}, t("versions.installed")),
      versions.installed.length ? table(t("versions.installed"), heads(t("versions.algorithm"), t("versions.version"), t("versions.active"), t("versions.when"), t("versions.signer"), t("versions.package"), t("versions.fault"), ""),
        versions.installed.map((each) => h("tr", { class: each.fault ? "outside" : null }, h("td", {}, each.name), h("td", {}, each.version), h("td", {}, active(each.active)), h("td", { class: "tight" }, date(each.installed)), h("td", {}, each.signed_by ?? ""), h("td", { class: "mono", title: each.package }, (each.package ?? "").slice(0, 12)), h("td", {}, each.fault ?? ""), h("td", {}, actions(each, versions.installed))))) : h("p", { class: "soft" }, `${t("versions.none")} ${versions.used ? "" : t("versions.unused")}`)),
    bundles ? bundleCard(bundles) : "",
    versions.history.length ? h("section", { class: "card" }, h("h2", {}, t("versions.history")), table(t("versions.history"), heads(t("common.time"), t("audit.event"), t("versions.algorithm"), t("audit.user"), t("recipes.why")),
      versions.history.map((each) => h("tr", {}, h("td", { class: "tight" }, date(each.at)), h("td", {}, each.event), h("td", {}, `${each.name ?? ""} ${each.version ?? ""}${each.pid && each.pid !== "*" ? ` · ${each.pid}` : ""}`), h("td", {}, names[each.by] ?? each.by), h("td", {}, each.why || each.gate.map(({ title, level }) => `${title}: ${level}`).join(", ")))))) : "");
});
show();
