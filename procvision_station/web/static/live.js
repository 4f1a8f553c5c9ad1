// Each line, now: the latest event of a stream; what is missed is never asked for again.
import { ask, at, frame, h, hostState, hour, may, number, percent, productPath, s, sign, t } from "./common.js";
import { loaded, viewer } from "./viewer.js";

const SILENT_MS = 25000;

const meter = ({ ok, ng, error }) => {
  const total = ok + ng + error || 1;
  let x = 0;
  const bars = [["ok", ok], ["ng", ng], ["error", error]].map(([kind, count]) => {
    const bar = s("rect", { class: kind, x, y: 0, width: (count / total) * 100, height: 10 });
    x += (count / total) * 100;
    return bar;
  });
  return h("div", { class: "meter" }, s("svg", { class: "chart", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, bars));
};

const counter = (name, value, kind = null) => h("div", {}, h("dt", {}, kind && h("span", { class: `key ${kind}` }), name), h("dd", {}, value));

const RECENT = 24;
const RECENT_MS = 3000;
/** The last products in a row, the newest at the right. What the stream left out is asked for, now and then. */
const recent = (line) => {
  const list = h("ol", { class: "recent", "aria-label": t("live.recent") });
  const item = (row) => h("li", {}, h("a", { class: `is-${row.told}`, href: productPath(row.line, row.key), title: `${hour(row.triggered_at)} ${row.reason}`, "aria-label": `${row.told} ${hour(row.triggered_at)}` }, sign(row.told)));
  let known = null;
  let asked = 0;
  const load = async () => {
    asked = Date.now();
    const page = await ask("/products", { facts: { line, limit: RECENT } }).catch(() => null);
    if (page) list.replaceChildren(...page.rows.reverse().map(item));
  };
  return {
    list,
    add(row, total) {
      const next = known !== null && total === known + 1;
      if (next) {
        list.append(item(row));
        while (list.children.length > RECENT) list.firstChild.remove();
      } else if (Date.now() - asked > RECENT_MS) load();
      known = total;
    },
  };
};

const card = (name) => {
  const title = h("h2", {}, name);
  const recipe = h("span", { class: "soft" });
  const state = h("span", { class: "state" });
  const word = h("a", { class: "word" });
  const why = h("div", { class: "why" });
  const when = h("div", { class: "when" });
  const verdict = h("div", { class: "verdict is-none", role: "status", "aria-live": "polite" }, word, why, when);
  const pictures = h("div", { class: "pictures" });
  const counters = h("dl", { class: "counters" });
  const latest = recent(name);
  const numbers = h("div", { class: "numbers" }, counters, latest.list);
  const problems = h("ul", { class: "problems" });
  const element = h("section", { class: "line", "aria-label": name }, h("header", {}, title, recipe, state), pictures, verdict, numbers, problems);
  const viewers = [];
  let shown = null;

  const showProblems = (told) => {
    problems.replaceChildren(...told.map((text) => {
      const [code, ...facts] = text.split("|");
      if (code === "problem.host") facts[1] = hostState(facts[1]);
      return h("li", { "data-problem": code }, t(code, Object.fromEntries(facts.map((fact, place) => [place, fact]))));
    }));
  };
  const showPictures = async ({ product, colours, pictures: paths }) => {
    const { row, steps } = product;
    while (viewers.length < steps.length) {
      const home = h("div", {});
      pictures.append(home);
      viewers.push({ home, view: viewer(home) });
    }
    while (viewers.length > Math.max(steps.length, 0)) viewers.pop().home.remove();
    const key = row.key;
    await Promise.all(steps.map(async (step, place) => {
      const picture = paths[place] && (await loaded(paths[place]));
      if (shown !== key) return;
      viewers[place]?.view.show(step, colours, picture, t("live.step", { step: step.step + 1, camera: step.camera }));
    }));
    if (!steps.length && shown === key) pictures.replaceChildren(h("p", { class: "empty" }, t("picture.none")));
  };
  return {
    element,
    show(body) {
      recipe.textContent = body.recipe ? t("live.recipe", { recipe: body.recipe }) : "";
      recipe.title = body.recipe_version ?? "";
      // Without a verdict nothing is well, whatever the hosts say.
      const bad = body.problems.length > 0 || body.last?.product.row.told === "ERROR";
      state.replaceChildren(h("span", { class: bad ? "dot bad" : "dot" }), bad ? t("live.trouble") : t("live.healthy"));
      showProblems(body.problems);
      element.classList.toggle("past", !body.running);
      const { counts } = body;
      const total = counts.ok + counts.ng + counts.error;
      counters.replaceChildren(
        counter(t("live.yield"), percent(total ? counts.ok / total : null)), counter(t("live.products"), number(total)),
        counter(t("live.elapsed"), total ? `${number(counts.elapsed_ms)} ms` : "–"), counter("OK", number(counts.ok), "ok"),
        counter("NG", number(counts.ng), "ng"), counter("ERROR", number(counts.error), "error"), meter(counts));
      counters.title = t("live.shift", { shift: body.shift });
      if (!body.last) {
        word.classList.add("quiet-word");
        word.replaceChildren(t("live.nothing"));
        return;
      }
      const { row } = body.last.product;
      const fresh = shown !== row.key;
      if (fresh) latest.add(row, total);
      word.classList.remove("quiet-word");
      shown = row.key;
      element.dataset.key = row.key;
      element.dataset.told = row.told;
      verdict.className = `verdict is-${row.told}${fresh ? " fresh" : ""}`;
      word.replaceChildren(h("span", { class: "sign", "aria-hidden": "true" }, sign(row.told)), row.told);
      word.setAttribute("href", productPath(row.line, row.key));
      why.textContent = row.reason;
      when.textContent = [hour(row.triggered_at), row.serial ?? row.key, may("engineer") ? `${number(row.elapsed_ms)} ms` : null].filter(Boolean).join(" · ");
      showPictures(body.last);
    },
  };
};

const cards = new Map();
for (const name of frame.lines) {
  const made = card(name);
  cards.set(name, made);
  at("lines").append(made.element);
}

let heard = Date.now();
const lost = (is) => {
  at("connection").hidden = !is;
  document.body.classList.toggle("past", is);
};
const news = new EventSource("/api/live");
const alive = () => {
  heard = Date.now();
  lost(false);
};
news.addEventListener("open", alive);
news.addEventListener("alive", alive);
news.addEventListener("line", (event) => {
  alive();
  const body = JSON.parse(event.data);
  cards.get(body.line)?.show(body);
});
news.addEventListener("error", () => {
  lost(true);
  if (news.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 3000);
});
// A stream that says nothing, not even that it is alive, shows a verdict of the past.
setInterval(() => {
  if (Date.now() - heard > SILENT_MS) lost(true);
}, 1000);
