// A step's picture with its boxes: at full size, zoomed and panned as a report's.
import { h, s, t } from "./common.js";
import { zoomable } from "./zoom.js";

const corners = () => s("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4", fill: "none", stroke: "currentColor", "stroke-width": "2" }));

const marks = (step, colours, size) => {
  const font = Math.max(size.width, size.height) / 42;
  return step.defects.map((defect, place) => {
    const { edge, ink } = colours[defect.label];
    const box = { x: defect.x, y: defect.y, width: Math.max(defect.width, 1), height: Math.max(defect.height, 1) };
    const words = defect.score === null ? defect.label : `${defect.label} ${defect.score.toFixed(2)}`;
    const wide = font * (0.7 + words.length * 0.62);
    const x = Math.max(0, Math.min(box.x, size.width - wide));
    const above = box.y - font * 1.5 >= 0;
    const y = above ? box.y - font * 1.5 : Math.min(box.y + box.height + font * 0.2, size.height - font * 1.4);
    return s("g", { class: "mark", "data-mark": place },
      s("title", {}, words),
      s("rect", { class: "halo", stroke: ink, ...box }),
      s("rect", { class: "edge", stroke: edge, ...box }),
      s("g", { class: "tag" },
        s("rect", { x, y, width: wide, height: font * 1.4, rx: font / 5, fill: edge }),
        s("text", { x: x + font * 0.35, y: y + font, "font-size": font, fill: ink }, words)));
  });
};

// What a person drew: dashed, so that it is told from what the algorithm found.
const drawnMarks = (boxes, colours, size) => {
  const font = Math.max(size.width, size.height) / 48;
  return boxes.map(({ label, ...box }) => s("g", { class: "mark person" }, s("title", {}, `${t("boxes.person")}: ${label}`), s("rect", { class: "halo", stroke: "#000", ...box }), s("rect", { class: "edge", stroke: colours[label]?.edge ?? "#ffd400", ...box }),
    s("text", { x: box.x, y: Math.min(box.y + box.height + font, size.height - 2), "font-size": font }, label)));
};

/** A picture and its size; null where it is gone. */
export const loaded = (path) =>
  new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve({ path, width: image.naturalWidth, height: image.naturalHeight });
    image.onerror = () => resolve(null);
    image.src = path;
  });

/** A viewer in an element. `show` puts a step's picture into it; a place that was zoomed into stays. */
export const viewer = (home, { tools = true } = {}) => {
  let size = { width: 0, height: 0 };
  let image = null;
  let layer = null;
  let caption = null;
  let svg = null;
  const build = (name) => {
    const button = (kind, label, sign, more = {}) => h("button", { type: "button", class: kind, "aria-label": label, title: label, ...more }, sign);
    const boxes = h("button", { type: "button", "aria-pressed": "true", onclick: () => {
      const hidden = svg.classList.toggle("hide-marks");
      boxes.setAttribute("aria-pressed", String(!hidden));
    } }, t("picture.boxes"));
    caption = h("span", {}, name);
    image = s("image", { width: size.width, height: size.height, preserveAspectRatio: "none" });
    layer = s("g", {});
    svg = s("svg", { viewBox: `0 0 ${size.width} ${size.height}`, tabindex: "0", role: "img", "aria-label": name }, image, layer);
    const bar = h("span", { class: "tools" }, boxes, h("output", { class: "zoom", "aria-label": t("picture.zoom") }, "100 %"),
      button("out", t("picture.out"), "−"), button("in", t("picture.in"), "+"),
      button("fill", t("picture.whole"), corners(), { "aria-pressed": "false" }));
    bar.hidden = !tools;
    home.replaceChildren(h("figure", {}, h("figcaption", {}, caption, bar), svg));
    zoomable(home);
  };
  return {
    show(step, colours, picture, name, drawn = []) {
      if (!picture) {
        size = { width: 0, height: 0 };
        home.replaceChildren(h("figure", {}, h("figcaption", {}, name), h("p", { class: "empty" }, t("picture.none"))));
        return;
      }
      if (picture.width !== size.width || picture.height !== size.height) {
        size = { width: picture.width, height: picture.height };
        build(name);
      }
      caption.textContent = name;
      svg.setAttribute("aria-label", name);
      image.setAttribute("href", picture.path);
      layer.replaceChildren(...marks(step, colours, size), ...drawnMarks(drawn, colours, size));
    },
    point(place, on) {
      layer?.querySelector(`[data-mark="${place}"]`)?.classList.toggle("pointed", on);
    },
  };
};
