// The leaderboard: sorting, filters, intervals drawn on the scale of what is shown, numbers that open their run.
"use strict";
vml.table = (panel, changed) => {
  const root = panel.querySelector(".part.table");
  const tasks = [...root.querySelectorAll("section.task")];
  const columns = new Map(vml.index.panels[panel.dataset.panel].columns.map((column) => [column.name, column]));
  const state = vml.address.of(panel.dataset.panel);
  const inputs = [...root.querySelectorAll(".filters input")];
  const filterOf = (input) => `${input.closest("fieldset").dataset.filter}:${input.value}`;
  const one = root.querySelector('[data-choice="metric"]');
  const intervals = root.querySelector('[data-show="intervals"]');
  const begun = tasks.map((task) => [...task.querySelectorAll("tbody tr")]);
  let sorted = { by: null, ascending: true };

  const chosen = (name) => new Set([...root.querySelectorAll(`[data-filter="${name}"] input:checked`)].map((i) => i.value));

  /** Draw the intervals of one task on the scale of its visible rows. */
  function drawBars(task) {
    const rows = [...task.querySelectorAll("tbody tr:not([hidden])")];
    for (const column of columns.values()) {
      const cells = rows.map((row) => row.querySelector(`td[data-column="${CSS.escape(column.name)}"]`))
        .filter((cell) => cell?.dataset.low)
        .map((cell) => ({ bar: cell.querySelector(".bar"), value: +cell.dataset.value, low: +cell.dataset.low, high: +cell.dataset.high }));
      if (!cells.length) continue;
      const [low, high] = vml.commonRange(cells, column.better);
      const place = (value) => `${Math.min(Math.max((100 * (value - low)) / (high - low || 1), 0), 100)}%`;
      for (const { bar, ...cell } of cells) {
        bar.style.setProperty("--low", place(cell.low));
        bar.style.setProperty("--high", place(cell.high));
        bar.style.setProperty("--at", place(cell.value));
        bar.classList.toggle("below", cell.value < low);
        bar.classList.toggle("above", cell.value > high);
      }
    }
  }

  function filter() {
    const [shownTasks, methods, shown] = ["task", "method", "column"].map(chosen);
    for (const cell of root.querySelectorAll("[data-column]")) {
      cell.hidden = !shown.has(cell.dataset.column) && cell.dataset.column !== one.value;
      cell.classList.toggle("chosen", cell.dataset.column === one.value);
      cell.classList.toggle("extra", !shown.has(cell.dataset.column));
    }
    state.set("toggled", ...inputs.filter((input) => input.checked !== input.defaultChecked).map(filterOf));
    let count = 0;
    for (const task of tasks) {
      let here = 0;
      for (const row of task.querySelectorAll("tbody tr")) {
        row.hidden = !methods.has(row.dataset.method);
        here += !row.hidden;
      }
      task.hidden = !shownTasks.has(task.dataset.task) || !here;
      if (task.hidden) continue;
      count += here;
      drawBars(task);
    }
    root.querySelector(".count").textContent = `${count} row${count === 1 ? "" : "s"}`;
    root.querySelector(".empty").hidden = count > 0;
    changed();
  }

  /** What a row is sorted by; what has no value goes last, whichever way. */
  function key(row, by) {
    if (by === "method") return vml.mark(row.dataset.method).place;
    if (by === "n" || by === "diverged") return +row.dataset[by];
    const value = row.querySelector(`td[data-column="${CSS.escape(by)}"]`)?.dataset.value;
    return value === undefined ? null : value === "inf" ? Infinity : +value;
  }

  function sort(by) {
    const first = by === "method" || (columns.get(by)?.better ?? -1) < 0 || columns.get(by)?.better === 0;
    order(by, sorted.by === by ? !sorted.ascending : first);
    state.set("sort", (sorted.ascending ? "" : "-") + by);
  }

  /** Put the rows of every table in order; without a column as they began. */
  function order(by, ascending) {
    sorted = { by, ascending };
    const sign = ascending ? 1 : -1;
    for (const head of root.querySelectorAll("th[data-sort]")) {
      if (head.dataset.sort === by) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
    for (const [i, task] of tasks.entries()) {
      const rows = begun[i].map((row) => [by && key(row, by), row]);
      if (by) rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * (a - b || 0)));
      task.querySelector("tbody").append(...rows.map(([, row]) => row));
    }
  }

  root.addEventListener("click", (event) => {
    const head = event.target.closest("th[data-sort] button");
    if (head) return sort(head.closest("th").dataset.sort);
    const all = event.target.closest("button[data-all]");
    if (all) {
      for (const input of all.closest("fieldset").querySelectorAll("input")) input.checked = Boolean(all.dataset.all);
      return filter();
    }
    const link = event.target.closest("a[data-run]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return undefined;
    event.preventDefault();
    const cell = link.closest("td");
    const column = cell && columns.get(cell.dataset.column);
    const value = column && `${link.textContent.trim()}${column.unit ? ` ${column.unit}` : ""}`;
    const interval = cell?.querySelector(".interval")?.textContent ?? "";
    return vml.provenance(link.dataset.run, column && { value, title: column.title, interval });
  });
  root.querySelector(".filters").addEventListener("change", filter);
  intervals.addEventListener("change", () => {
    root.classList.toggle("with-intervals", intervals.checked);
    state.set("intervals", intervals.checked || null);
  });
  one.value = ["lpips_alex", "psnr", "map_gap"].find((name) => columns.get(name)?.shown) ?? one.value;
  const choose = vml.address.choices(root, "table", state);
  one.addEventListener("change", filter);
  for (const task of tasks) {
    for (const link of task.querySelectorAll("td a[data-run]")) link.tabIndex = -1;
    vml.arrows(task, () => [...task.querySelectorAll("tbody tr:not([hidden])")].map((row) =>
      [...row.querySelectorAll("a[data-run]")].filter((link) => link.offsetParent)));
  }
  if (matchMedia("(max-width: 700px)").matches) root.querySelector(".filters").open = false;

  /** Put everything as the address says. */
  function restore() {
    const toggled = new Set(state.all("toggled"));
    for (const input of inputs) input.checked = input.defaultChecked !== toggled.has(filterOf(input));
    intervals.checked = state.get("intervals") !== null;
    root.classList.toggle("with-intervals", intervals.checked);
    choose();
    const by = state.get("sort")?.replace(/^-/, "") ?? null;
    const known = by && root.querySelector(`th[data-sort="${CSS.escape(by)}"]`);
    if (known || sorted.by) order(known ? by : null, !state.get("sort")?.startsWith("-"));
    filter();
  }
  restore();
  return { methods: () => chosen("method"), restore };
};
