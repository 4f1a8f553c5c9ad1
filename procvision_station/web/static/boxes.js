// Boxes that a person draws on a step's picture: by pointer on the picture, by keys on a box, or by numbers in a list.
import { h, number, s, t } from "./common.js";

const SIDES = ["x", "y", "width", "height"];
const LEAST = 2;
const GRIP = 9;
const CORNERS = [[0, 0], [1, 0], [0, 1], [1, 1]];
const bounded = (value, low, high) => Math.min(Math.max(value, low), high);

/** An editor of one picture's boxes. `boxes()` are those that stand there, `touched()` whether a person changed any. */
export const boxEditor = (step, picture, colours, labels, drawn = null) => {
  const { width: wide, height: high } = picture;
  const found = step.defects.map(({ label, x, y, width, height }) => ({ label, x, y, width, height }));
  let boxes = (drawn ?? found).map((box) => ({ ...box }));
  let changed = drawn !== null;
  let latest = found[0]?.label ?? labels[0] ?? t("boxes.defect");
  const known = h("datalist", { id: `labels-${step.step}` }, labels.map((label) => h("option", { value: label })));
  const layer = s("g", {});
  const svg = s("svg", { class: "drawing", viewBox: `0 0 ${wide} ${high}`, "aria-label": t("boxes.title"), role: "group" },
    s("image", { href: picture.path, width: wide, height: high, preserveAspectRatio: "none" }), layer);
  const rows = h("tbody", {});
  const none = h("p", { class: "soft" }, t("boxes.none"));
  const table = h("table", { class: "rows boxes", onkeydown: (event) => {
    if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
    event.preventDefault();
    event.target.dispatchEvent(new Event("change"));
  } }, h("thead", {}, h("tr", {}, [t("boxes.label"), ...SIDES.map((side) => t(`boxes.${side}`))].map((name) => h("th", { scope: "col" }, name)), h("th", { scope: "col" }, h("span", { class: "unseen" }, t("boxes.remove"))))), rows);
  const edge = (label) => colours[label]?.edge ?? "#ffd400";
  const fit = (box) => {
    box.width = bounded(Math.round(box.width), LEAST, wide);
    box.height = bounded(Math.round(box.height), LEAST, high);
    box.x = bounded(Math.round(box.x), 0, wide - box.width);
    box.y = bounded(Math.round(box.y), 0, high - box.height);
  };
  const words = (box) => t("boxes.one", Object.fromEntries([["label", box.label], ...SIDES.map((side) => [side, number(box[side])])]));

  const place = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [bounded(point.x, 0, wide), bounded(point.y, 0, high)];
  };
  // What a pointer does from its going down on: `move` is told where it is.
  const drag = (event, move, end) => {
    event.preventDefault();
    svg.setPointerCapture(event.pointerId);
    const moved = (each) => move(...place(each));
    const ended = () => {
      svg.removeEventListener("pointermove", moved);
      for (const kind of ["pointerup", "pointercancel"]) svg.removeEventListener(kind, ended);
      end?.();
    };
    svg.addEventListener("pointermove", moved);
    for (const kind of ["pointerup", "pointercancel"]) svg.addEventListener(kind, ended);
  };

  const parts = new Map();
  const draw = (box) => {
    const { group, inputs } = parts.get(box);
    group.setAttribute("aria-label", words(box));
    for (const rect of group.querySelectorAll(".halo, .edge, .inside")) for (const side of SIDES) rect.setAttribute(side, box[side]);
    group.querySelector(".edge").setAttribute("stroke", edge(box.label));
    const scale = svg.getScreenCTM()?.a || 1;
    group.querySelectorAll(".grip").forEach((grip, at) => {
      grip.setAttribute("cx", box.x + CORNERS[at][0] * box.width);
      grip.setAttribute("cy", box.y + CORNERS[at][1] * box.height);
      grip.setAttribute("r", GRIP / scale);
    });
    if (document.activeElement !== inputs.label) inputs.label.value = box.label;
    for (const side of SIDES) if (document.activeElement !== inputs[side]) inputs[side].value = String(Math.round(box[side]));
  };
  const change = (box, values) => {
    Object.assign(box, values);
    fit(box);
    changed = true;
    draw(box);
  };
  const remove = (box) => {
    const at = boxes.indexOf(box);
    boxes.splice(at, 1);
    changed = true;
    const { group, row } = parts.get(box);
    group.remove();
    row.remove();
    parts.delete(box);
    none.hidden = boxes.length > 0;
    const next = boxes[Math.min(at, boxes.length - 1)];
    if (next) parts.get(next).group.focus();
    else add.focus();
  };
  const keys = (box, event) => {
    const far = event.ctrlKey ? 1 : Math.max(1, Math.round(Math.max(wide, high) / 100));
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (event.key === "Delete" || event.key === "Backspace") remove(box);
    else if (dx || dy) change(box, event.shiftKey ? { width: box.width + dx * far, height: box.height + dy * far } : { x: box.x + dx * far, y: box.y + dy * far });
    else return;
    event.preventDefault();
  };
  const resize = (box, [left, top], event) => {
    const fixed = [left ? box.x : box.x + box.width, top ? box.y : box.y + box.height];
    drag(event, (x, y) => change(box, { x: Math.min(x, fixed[0]), y: Math.min(y, fixed[1]), width: Math.abs(x - fixed[0]), height: Math.abs(y - fixed[1]) }));
  };
  const move = (box, event) => {
    const [x0, y0] = place(event);
    const { x, y } = box;
    drag(event, (toX, toY) => change(box, { x: x + toX - x0, y: y + toY - y0 }));
  };
  const put = (box) => {
    const rect = (kind) => s("rect", { class: kind });
    const grips = CORNERS.map((corner) => s("circle", { class: "grip", onpointerdown: (event) => {
      event.stopPropagation();
      group.focus();
      resize(box, corner, event);
    } }));
    const group = s("g", { class: "drawn", tabindex: "0", role: "button", onkeydown: (event) => keys(box, event), onpointerdown: (event) => {
      event.stopPropagation();
      group.focus();
      move(box, event);
    } }, rect("inside"), rect("halo"), rect("edge"), grips);
    const label = h("input", { list: known.id, maxlength: "64", autocomplete: "off", "aria-label": t("boxes.label"), oninput: () => {
      latest = label.value.trim() || latest;
      change(box, { label: label.value.trim() });
    } });
    const inputs = Object.fromEntries(SIDES.map((side) => [side, h("input", { inputmode: "numeric", autocomplete: "off", "aria-label": t(`boxes.${side}`), onchange: (event) => {
      const value = Number(event.target.value);
      if (Number.isFinite(value)) change(box, { [side]: value });
      event.target.value = String(Math.round(box[side]));
    } })]));
    inputs.label = label;
    const row = h("tr", { onfocusin: () => group.classList.add("pointed"), onfocusout: () => group.classList.remove("pointed") }, h("td", {}, label), SIDES.map((side) => h("td", {}, inputs[side])),
      h("td", {}, h("button", { type: "button", class: "quiet", onclick: () => remove(box) }, t("boxes.remove"))));
    parts.set(box, { group, inputs, row });
    layer.append(group);
    rows.append(row);
    draw(box);
    none.hidden = true;
  };
  const made = (values) => {
    const box = { label: latest, ...values };
    fit(box);
    boxes.push(box);
    changed = true;
    put(box);
    return box;
  };
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const [x0, y0] = place(event);
    let box = null;
    drag(event, (x, y) => {
      const values = { x: Math.min(x, x0), y: Math.min(y, y0), width: Math.abs(x - x0), height: Math.abs(y - y0) };
      if (!box && Math.max(values.width, values.height) < LEAST) return;
      if (box) change(box, values);
      else box = made(values);
    }, () => box && parts.get(box).group.focus());
  });
  const add = h("button", { type: "button", class: "quiet", onclick: () => {
    const box = made({ x: wide * 0.45, y: high * 0.45, width: wide * 0.1, height: high * 0.1 });
    parts.get(box).group.focus();
  } }, t("boxes.add"));
  const reset = h("button", { type: "button", class: "quiet", onclick: () => {
    boxes = found.map((box) => ({ ...box }));
    changed = false;
    show();
  } }, t("boxes.reset"));
  const show = () => {
    parts.clear();
    layer.replaceChildren();
    rows.replaceChildren();
    none.hidden = boxes.length > 0;
    boxes.forEach(put);
  };
  show();
  // Grips are as large on the screen whatever the picture's size is.
  new ResizeObserver(() => boxes.forEach(draw)).observe(svg);
  return {
    element: h("div", { class: "box-editor" }, svg, h("div", {}, h("p", { class: "soft" }, t("boxes.draw"), " ", h("span", { class: "by-keys" }, t("boxes.keys"))), known, h("div", { class: "actions" }, add, reset), none, table)),
    boxes: () => boxes.map((box) => ({ step: step.step, ...box, label: box.label || latest })),
    touched: () => changed,
  };
};
