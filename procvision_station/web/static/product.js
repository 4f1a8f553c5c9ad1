// One product: its steps, measured values beside their limits, and what people said of it.
import { ask, at, date, dialog, eventName, h, may, number, pill, productPath, say, sign, t, trying } from "./common.js";
import { boxEditor } from "./boxes.js";
import { loaded, viewer } from "./viewer.js";

const [, , line, , key] = location.pathname.split("/").map(decodeURIComponent);
const here = `/lines/${encodeURIComponent(line)}/products/${encodeURIComponent(key)}`;
const home = at("product");

const fact = (name, value) => (value === null || value === undefined || value === "" ? null : h("div", {}, h("dt", {}, name), h("dd", {}, value)));
const outside = ({ value, low, high }) => (low !== null && value < low) || (high !== null && value > high);

const defects = (step, colours, view) => step.defects.length > 0 && [
  h("h3", {}, t("product.defects")),
  h("table", { class: "rows" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("product.label")), h("th", { scope: "col", class: "n" }, t("product.score")), h("th", { scope: "col", class: "n" }, t("product.place")), h("th", { scope: "col", class: "n" }, t("product.size")))),
    h("tbody", {}, step.defects.map((each, place) => {
      const swatch = h("span", { class: "swatch" });
      swatch.style.background = colours[each.label].edge;
      return h("tr", { onmouseenter: () => view.point(place, true), onmouseleave: () => view.point(place, false) },
        h("td", { class: each.label.length < 24 ? "tight" : null }, swatch, each.label), h("td", { class: "n" }, each.score === null ? "" : each.score.toFixed(2)),
        h("td", { class: "n tight" }, `${number(each.x)}, ${number(each.y)}`), h("td", { class: "n tight" }, `${number(each.width)} × ${number(each.height)}`));
    })))];

const measured = (step) => step.measurements.length > 0 && [
  h("h3", {}, t("product.measured")),
  h("table", { class: "rows" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("product.name")), h("th", { scope: "col", class: "n" }, t("product.value")), h("th", { scope: "col", class: "n" }, t("product.limits")))),
    h("tbody", {}, step.measurements.map((each) => h("tr", { class: outside(each) ? "outside" : null },
      h("td", {}, each.name), h("td", { class: "n tight" }, `${outside(each) ? "▲ " : ""}${number(each.value, 4)} ${each.unit ?? ""}`),
      h("td", { class: "n tight" }, each.low === null && each.high === null ? "–" : `${each.low === null ? "" : number(each.low, 4)} … ${each.high === null ? "" : number(each.high, 4)}`)))))];

const parameters = (step) => h("details", {}, h("summary", {}, t("product.parameters")),
  h("dl", { class: "facts" }, Object.entries(step.parameters).map(([name, value]) => fact(name, JSON.stringify(value)))));

// What a person said last, where they drew boxes: those of a step; null where they drew none on the product.
const drawnBy = (events) => {
  const last = events.filter(({ event }) => event === "overruled").reduce((found, each) => (found && found.sequence > each.sequence ? found : each), null);
  const boxes = last?.content.defects ?? null;
  return (step) => boxes && boxes.filter((box) => box.step === step.step).map(({ label, x, y, width, height }) => ({ label, x, y, width, height }));
};

const stepCard = (step, colours, path, drawn) => {
  const place = h("div", {});
  const view = viewer(place);
  const picture = async () => {
    view.show(step, colours, path && (await loaded(path)), t("product.step", { step: step.step + 1, camera: step.camera }), (drawn ?? []).filter((box) => !step.defects.some((each) => ["label", "x", "y", "width", "height"].every((side) => each[side] === box[side]))));
  };
  picture();
  const lost = step.picture && step.picture.state !== "there" ? t(`picture.${step.picture.state}`) : step.picture_said === "too many wait" ? t("picture.too_many") : null;
  return h("section", { class: "card step" }, place, h("div", {},
    h("h2", {}, pill(step.verdict), " ", t("product.step", { step: step.step + 1, camera: step.camera })),
    step.ng_reason || step.message ? h("p", {}, step.ng_reason || step.message) : null,
    h("dl", { class: "facts" }, fact(t("product.algorithm"), `${step.algorithm} ${step.version}`), fact(t("product.package"), step.package && h("span", { class: "mono", title: step.package }, `${step.distribution} ${step.package.slice(0, 12)}…`)), fact(t("product.answered"), step.answered_ms === null ? "" : `${number(step.answered_ms, 1)} ms`), fact(t("product.code"), step.error_code), fact(t("common.picture"), lost)),
    defects(step, colours, view) || null, drawn?.length ? h("p", { class: "soft" }, h("span", { class: "swatch dashed" }), t("boxes.person"), ": ", drawn.map(({ label }) => label).join(", ")) : null, measured(step) || null, parameters(step)));
};

const remark = (event, names) => h("li", {},
  h("strong", {}, eventName(event.event)),
  " ", event.content.verdict ? pill(event.content.verdict) : null, " ", event.text ?? event.content.why ?? event.content.reason ?? "", event.content.defects ? h("span", { class: "soft" }, ` · ${t("boxes.drawn", { count: event.content.defects.length })}`) : null,
  h("br"), h("span", { class: "soft" }, date(event.at), event.user ? ` · ${names[event.user] ?? event.user}` : ""));

const change = async (element, path, made) => {
  const given = await dialog(element);
  if (!given) return;
  await trying(async () => {
    await ask(`${here}/${path}`, { method: "POST", body: made(given) });
    say(t("product.recorded"));
    // The projection follows the ledger within a tenth of a second.
    setTimeout(show, 400);
  });
};

const overrule = ({ product, colours, pictures }) => {
  const element = at("overrule");
  const home = at("drawing");
  const drawn = drawnBy(product.events);
  const plain = (step) => step.defects.map(({ label, x, y, width, height }) => ({ step: step.step, label, x, y, width, height }));
  let editors = [];
  const chosen = () => {
    home.hidden = !editors.some(Boolean) || element.querySelector("[name=verdict]:checked")?.value !== "NG";
    element.classList.toggle("wide", !home.hidden);
  };
  element.querySelector("form").onchange = chosen;
  home.replaceChildren();
  chosen();
  // The dialog is there at once; what is drawn on comes when it is loaded.
  trying(async () => {
    const labels = await ask("/labels");
    editors = await Promise.all(product.steps.map(async (step, place) => {
      const picture = pictures[place] && (await loaded(pictures[place]));
      return picture && boxEditor(step, picture, colours, labels, drawn(step));
    }));
    home.replaceChildren(...editors.filter(Boolean).map((editor) => editor.element));
    chosen();
  });
  return change(element, "overrule", ({ verdict, why }) => {
    const touched = verdict === "NG" && editors.some((editor) => editor?.touched());
    // A step without a picture keeps the algorithm's boxes.
    const all = () => product.steps.flatMap((step, place) => editors[place]?.boxes() ?? plain(step));
    return { verdict, why, ...(touched ? { defects: all() } : {}) };
  });
};

const pin = (pinned) => trying(async () => {
  await ask(`${here}/pin`, { method: "POST", body: { pinned } });
  say(t("product.recorded"));
  setTimeout(show, 400);
});

const show = () => trying(async () => {
  const body = await ask(here);
  const { product, colours, pictures } = body;
  const drawn = drawnBy(product.events);
  const names = may("viewer") ? await ask("/names") : {};
  const { row } = product;
  const go = (to, text, id) => h("a", { id, href: to ? productPath(line, to) : null, "aria-disabled": to ? null : "true" }, text);
  document.title = `${row.told} · ${row.serial ?? row.key}`;
  home.replaceChildren(
    h("section", { class: "card" },
      h("div", { class: `head is-${row.told}` }, h("span", { class: "word" }, sign(row.told), " ", row.told),
        h("div", { class: "words" }, h("h1", {}, row.serial ?? row.key), h("p", {}, row.reason))),
      h("p", {}),
      row.overruled ? h("p", { class: "truth" }, pill(row.overruled), " ", t("product.overruled")) : null,
      h("dl", { class: "facts" },
        fact(t("common.time"), date(row.triggered_at)), fact(t("common.line"), row.line), fact(t("product.key"), row.key), fact(t("product.product"), row.product),
        fact(t("common.recipe"), `${row.recipe} ${row.recipe_version}`), fact(t("product.versions"), row.versions), fact(t("product.took"), `${number(row.elapsed_ms, 1)} ms`),
        fact(t("product.found"), row.found === row.told ? "" : row.found), fact(t("product.file"), row.file)),
      h("p", {}),
      h("div", { class: "actions" },
        may("operator") ? h("button", { type: "button", onclick: () => overrule(body) }, t("product.overrule")) : null,
        may("operator") ? h("button", { type: "button", class: "quiet", onclick: () => change(at("note"), "notes", ({ text }) => ({ text })) }, t("product.note")) : null,
        may("operator") ? h("button", { type: "button", class: "quiet", "aria-pressed": String(row.pinned), onclick: () => pin(!row.pinned) }, t("product.pin")) : null,
        go(product.older, `← ${t("product.older")}`, "older"), go(product.newer, `${t("product.newer")} →`, "newer"))),
    h("div", { class: "steps" }, product.steps.map((step, place) => stepCard(step, colours, pictures[place], drawn(step)))),
    product.events.length ? h("section", { class: "card" }, h("h2", {}, t("product.remarks")), h("ul", { class: "remarks" }, product.events.map((each) => remark(each, names)))) : "");
  home.removeAttribute("aria-busy");
});

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select, dialog, svg") || event.ctrlKey || event.metaKey || event.altKey) return;
  const to = { ArrowLeft: "older", ArrowRight: "newer" }[event.key];
  const href = to && at(to)?.getAttribute("href");
  if (href) location.assign(href);
});
show();
