"use strict";
// Zoom and pan: the pictures below one element together. A report has it in its script, the station's page as a module.
const STEP = 1.3;
const MOST = 64;
const bounded = (value, low, high) => Math.min(Math.max(value, low), high);

const zoomable = (pictures) => {
  const boards = [...pictures.querySelectorAll("figure svg")].map((svg) => {
    const { width, height } = svg.viewBox.baseVal;
    return { svg, width, height };
  });
  const told = [...pictures.querySelectorAll(".zoom")];
  let zoom = 1;
  let x = 0.5;
  let y = 0.5;
  const show = () => {
    const half = 0.5 / zoom;
    x = bounded(x, half, 1 - half);
    y = bounded(y, half, 1 - half);
    for (const { svg, width, height } of boards) {
      const view = [(x - half) * width, (y - half) * height, width / zoom, height / zoom];
      svg.setAttribute("viewBox", view.join(" "));
      svg.style.setProperty("--shrunk", 1 / zoom);
      svg.classList.toggle("zoomed", zoom > 1);
    }
    for (const one of told) one.textContent = `${Math.round(zoom * 100)} %`;
  };
  const to = (wanted, atX = x, atY = y) => {
    const next = bounded(wanted, 1, MOST);
    x = atX + ((x - atX) * zoom) / next;
    y = atY + ((y - atY) * zoom) / next;
    zoom = next;
    show();
  };
  const look = (centreX, centreY, wanted) => {
    [zoom, x, y] = [bounded(wanted, 1, MOST), centreX, centreY];
    show();
  };
  const place = (board, event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(board.svg.getScreenCTM().inverse());
    return [point.x / board.width, point.y / board.height];
  };
  for (const board of boards) {
    const { svg } = board;
    const figure = svg.closest("figure");
    const button = figure.querySelector(".fill");
    const fill = (on) => {
      figure.classList.toggle("whole", on);
      document.documentElement.classList.toggle("has-whole", on);
      button.setAttribute("aria-pressed", String(on));
      svg.focus({ preventScroll: true });
    };
    figure.querySelector(".in").addEventListener("click", () => to(zoom * STEP * STEP));
    figure.querySelector(".out").addEventListener("click", () => to(zoom / STEP / STEP));
    button.addEventListener("click", () => fill(!figure.classList.contains("whole")));
    svg.addEventListener("wheel", (event) => {
      const wanted = event.ctrlKey || document.activeElement === svg || figure.classList.contains("whole");
      if (!wanted) return;
      event.preventDefault();
      to(zoom * (event.deltaY < 0 ? STEP : 1 / STEP), ...place(board, event));
    }, { passive: false });
    svg.addEventListener("dblclick", (event) => to(zoom * 2, ...place(board, event)));
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      svg.focus({ preventScroll: true });
      if (zoom === 1) return;
      svg.setPointerCapture(event.pointerId);
      svg.classList.add("held");
    });
    svg.addEventListener("pointermove", (event) => {
      if (!svg.hasPointerCapture(event.pointerId)) return;
      const scale = svg.getScreenCTM().a;
      x -= event.movementX / scale / board.width;
      y -= event.movementY / scale / board.height;
      show();
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      svg.addEventListener(end, () => svg.classList.remove("held"));
    }
    figure.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape" && figure.classList.contains("whole")) fill(false);
      else if (event.target !== svg) return;
      else if (event.key === "+" || event.key === "=") to(zoom * STEP);
      else if (event.key === "-") to(zoom / STEP);
      else if (event.key === "0") look(0.5, 0.5, 1);
      else if (event.key === "Enter" || event.key === "f") fill(!figure.classList.contains("whole"));
      else if (zoom > 1 && event.key.startsWith("Arrow")) {
        const far = 0.15 / zoom;
        x += { ArrowLeft: -far, ArrowRight: far }[event.key] ?? 0;
        y += { ArrowUp: -far, ArrowDown: far }[event.key] ?? 0;
        show();
      } else return;
      event.preventDefault();
    });
  }
  return { boards, look };
};
