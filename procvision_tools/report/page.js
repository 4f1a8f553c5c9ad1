(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  for (const one of all("[data-needs-script]")) one.hidden = false;

  // --- pictures: those of one inspection zoom and pan together -----------------------------------------------
  const ready = new Map();
  const viewer = (pictures) => {
    if (!ready.has(pictures)) ready.set(pictures, zoomable(pictures));
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
