"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  for (const one of all("[data-needs-script]")) one.hidden = false;

  // --- pictures: zoom and pan, those of one inspection together ---------------------------------------------
  const STEP = 1.3;
  const MOST = 64;
  const bounded = (value, low, high) => Math.min(Math.max(value, low), high);

  const prepare = (pictures) => {
    const boards = all("figure svg", pictures).map((svg) => {
      const { width, height } = svg.viewBox.baseVal;
      return { svg, width, height };
    });
    const told = all(".zoom", pictures);
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

  const ready = new Map();
  const viewer = (pictures) => {
    if (!ready.has(pictures)) ready.set(pictures, prepare(pictures));
    return ready.get(pictures);
  };
  // A picture is made ready when it comes near: with hundreds of them the page is usable at once.
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) viewer(target);
  }, { rootMargin: "400px" });
  for (const pictures of all(".pictures")) near.observe(pictures);
  for (const svg of all(".pictures figure svg")) svg.setAttribute("tabindex", "0");
  document.addEventListener("focusin", ({ target }) => {
    const pictures = target.closest(".pictures");
    if (pictures) viewer(pictures);
  });

  // --- a defect's row shows its place -------------------------------------------------------------------------
  const markOf = (row) => row.closest(".inspection")?.querySelector(`[data-mark="${row.dataset.row}"]`);
  for (const kind of ["mouseover", "mouseout"]) {
    document.addEventListener(kind, (event) => {
      const row = event.target.closest?.("[data-row]");
      if (row) markOf(row)?.classList.toggle("pointed", kind === "mouseover");
    });
  }
  document.addEventListener("click", (event) => {
    const row = event.target.closest?.("[data-row] a")?.closest("[data-row]");
    const mark = row && markOf(row);
    if (!mark) return;
    const { boards, look } = viewer(mark.closest(".pictures"));
    const { width, height } = boards[0];
    const box = mark.querySelector(".edge");
    const [left, top, wide, high] = ["x", "y", "width", "height"].map((name) => Number(box.getAttribute(name)));
    look((left + wide / 2) / width, (top + high / 2) / height, Math.min(width / wide, height / high, 60) / 5);
  });

  // --- the overview: filter and sort ----------------------------------------------------------------------------
  const overview = document.querySelector(".overview");
  if (!overview) return;
  const body = overview.querySelector("tbody");
  const rows = all("tr", body).map((row) => ({
    row,
    section: document.getElementById(`i${row.dataset.number}`),
    text: row.textContent.toLowerCase(),
  }));
  const search = overview.querySelector("[type=search]");
  const told = overview.querySelector("output");
  const choices = all("[data-choice]", overview);
  let choice = "";
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { row, section, text } of rows) {
      const fits = (!choice || row.dataset.verdict === choice) && words.every((word) => text.includes(word));
      row.hidden = !fits;
      if (section) section.hidden = !fits;
      shown += fits;
    }
    told.textContent = `${shown} of ${rows.length}`;
  };
  for (const button of choices) {
    button.addEventListener("click", () => {
      choice = button.dataset.choice;
      for (const other of choices) other.setAttribute("aria-pressed", String(other === button));
      filter();
    });
  }
  search.addEventListener("input", filter);

  const order = new Intl.Collator(undefined, { numeric: true }).compare;
  for (const head of all("th[data-sort]", overview)) {
    const column = head.cellIndex;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of all("th[data-sort]", overview)) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = ({ row }) => row.cells[column].dataset.key ?? row.cells[column].textContent;
      const keyed = rows.map((one) => [key(one), one]);
      keyed.sort(([a], [b]) => (up ? order(a, b) : order(b, a)));
      body.append(...keyed.map(([, { row }]) => row));
      const first = rows.find(({ section }) => section)?.section;
      if (!first) return;
      const end = document.createComment("");
      first.parentNode.insertBefore(end, first);
      for (const [, { section }] of keyed) if (section) end.before(section);
      end.remove();
    });
  }
  filter();
})();
