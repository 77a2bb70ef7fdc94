// Quality against compute: one point per run, of one problem or of all; the plotting library comes when the plot is near.
"use strict";
vml.plot = (panel, table) => {
  const root = panel.querySelector(".part.plot");
  const chart = root.querySelector(".chart");
  const { columns, tasks } = vml.index.panels[panel.dataset.panel];
  const choice = (name) => root.querySelector(`[data-choice="${name}"]`);
  const option = (value, text) => vml.element("option", { value }, text);
  const EVERY = " every"; // no task's key has a space
  const STEPS = [0, ...[...Array(12).keys()].flatMap((i) => [i + 1, -i - 1])]; // the nearest first
  let ready = false;

  const rowsOf = (task) => [...panel.querySelectorAll(`section.task[data-task="${CSS.escape(task)}"] tbody tr`)];
  const cellOf = (row, name) => row.querySelector(`td[data-column="${CSS.escape(name)}"]`);
  const has = (name) => [...panel.querySelectorAll(`td[data-column="${CSS.escape(name)}"]`)].some((c) => c.dataset.value);
  const finite = (text) => (text === undefined || !Number.isFinite(+text) ? null : +text);
  /** The library reads a few tags in its texts; names have none. */
  const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  /** A run as a point; "passes" adds forward and backward passes of the network. */
  function point(row, x, y) {
    const value = (name) => finite(cellOf(row, name)?.dataset.value);
    const quality = cellOf(row, y);
    const counts = x === "passes" ? [value("nfe"), value("vjp")] : [value(x)];
    const at = counts.includes(null) ? null : counts.reduce((a, b) => a + b);  // another program's may be unknown
    const [low, high] = [finite(quality?.dataset.low), finite(quality?.dataset.high)];
    return { row, x: at, y: finite(quality?.dataset.value), low, high, text: quality?.querySelector("a")?.textContent.trim() };
  }

  /** The points that no other beats in both respects, cheapest first. */
  function front(points, better) {
    const kept = [];
    for (const one of [...points].sort((a, b) => a.x - b.x || better * (b.y - a.y))) {
      if (+one.row.dataset.diverged === 0 && (!kept.length || better * (one.y - kept.at(-1).y) > 0)) kept.push(one);
    }
    return kept;
  }

  /** One problem: its points in sight, and the ranges of its axes, in powers of ten where they are logarithmic. */
  function scene(task, x, y, logX, logY) {
    const methods = table.methods();
    const scored = rowsOf(task.key).map((row) => point(row, x, y.name))
      .filter((one) => methods.has(one.row.dataset.method) && one.y !== null);
    const all = scored.filter((one) => one.x !== null);
    const unknown = scored.filter((one) => one.x === null);
    const points = all.filter((one) => (!logX || one.x > 0) && (!logY || one.y > 0));
    if (!points.length) return { task, all, unknown, points, far: [], ranges: null };
    const least = Math.min(...points.map((one) => one.y));
    const [low, high] = vml.commonRange(points.map((one) => ({ value: one.y, low: one.low ?? one.y, high: one.high ?? one.y })), y.better)
      .map((end) => (logY ? Math.log10(Math.max(end, least / 2)) : end));
    const pad = 0.06 * (high - low) || 0.5;
    const ends = points.map((one) => (logX ? Math.log10(one.x) : one.x));
    const most = Math.max(...ends);
    const wide = logX ? 0.08 * (most - Math.min(...ends)) || 0.5 : 0.07 * most || 0.5;
    const ranges = { x: [(logX ? Math.min(...ends) : 0) - wide, most + wide], y: [low - pad, high + pad] };
    const out = (one) => (logY ? Math.log10(one.y) : one.y);
    return { task, all, unknown, points, ranges, far: points.filter((one) => out(one) < ranges.y[0] || out(one) > ranges.y[1]) };
  }

  /** Where along x each point is drawn: beside its place, by whole marks, where others would hide it. */
  function apart({ points, ranges }, box, size, logX, logY) {
    const scale = (value, log, [low, high], pixels) => (((log ? Math.log10(value) : value) - low) / (high - low)) * pixels;
    const taken = [];
    const drawn = new Map();
    for (const one of [...points].sort((a, b) => a.x - b.x || a.y - b.y)) {
      const [x, y] = [scale(one.x, logX, ranges.x, box.width), scale(one.y, logY, ranges.y, box.height)];
      const free = (step) => taken.every(([left, down]) => Math.hypot(x + step * size - left, y - down) >= 0.95 * size);
      const step = STEPS.find((way) => x + way * size > 0 && x + way * size < box.width - size / 2 && free(way)) ?? 0;
      taken.push([x + step * size, y]);
      const at = ranges.x[0] + ((x + step * size) / box.width) * (ranges.x[1] - ranges.x[0]);
      drawn.set(one, step === 0 ? one.x : logX ? 10 ** at : at);
    }
    return points.map((one) => drawn.get(one));
  }

  function traces(one, at, named, size, axes) {
    const { points } = one;
    const best = front(points, named.y.better);
    const of = points.map(({ row }) => vml.mark(row.dataset.method));
    const hollow = points.map(({ row }) => "hollow" in row.dataset);
    const lost = points.map(({ row }) => +row.dataset.diverged);
    const line = {
      x: best.map((point) => point.x), y: best.map((point) => point.y), mode: "lines", name: "not beaten in both",
      line: { color: vml.colour("--muted"), width: 1, dash: "dot", shape: "hv" }, hoverinfo: "skip", ...axes,
    };
    const bars = {
      type: "data", symmetric: false, thickness: 1, width: 0, color: vml.colour("--rule"),
      array: points.map((point) => (point.high === null ? 0 : point.high - point.y)),
      arrayminus: points.map((point) => (point.low === null ? 0 : point.y - point.low)),
    };
    const marks = {
      x: at, y: points.map((point) => point.y), mode: "markers", error_y: bars, ...axes,
      customdata: points.map(({ row, x }) => [row.dataset.run, x]),
      text: points.map(({ row }, i) => escape(row.dataset.title) + (lost[i] ? `<br>${lost[i]} diverged, left out` : "")),
      hovertemplate: `<b>%{text}</b><br>${escape(named.y.title)} %{y}<br>${escape(named.x)} %{customdata[1]:.4g}<extra></extra>`,
      marker: {
        size, opacity: 1,
        color: of.map(({ fill, colour }, i) => (hollow[i] ? vml.colour(colour) : fill)),
        line: { width: hollow.map((open) => (open ? 1.8 : 1)), color: of.map(({ colour }) => vml.colour(colour)) },
        symbol: lost.map((n, i) => of[i].symbol + (hollow[i] ? "-open" : "") + (n ? "-dot" : "")),
      },
    };
    return best.length > 1 ? [line, marks] : [marks];
  }

  /** Where each of several plots stands, in parts of the chart, and its size in pixels. */
  function boxes(count, width, height, across, margin) {
    const down = Math.ceil(count / across);
    const [wide, high] = [width - margin.l - margin.r, height - margin.t - margin.b];
    const gap = { x: across > 1 ? 46 / wide : 0, y: down > 1 ? 52 / high : 0 };
    const size = { x: (1 - gap.x * (across - 1)) / across, y: (1 - gap.y * (down - 1)) / down };
    return [...Array(count).keys()].map((i) => {
      const [left, top] = [(i % across) * (size.x + gap.x), 1 - Math.floor(i / across) * (size.y + gap.y)];
      return { x: [left, left + size.x], y: [Math.max(top - size.y, 0), top], width: size.x * wide, height: size.y * high };
    });
  }

  function draw() {
    if (!ready) return;
    const [logX, logY] = [choice("log-x").checked, choice("log-y").checked];
    const [x, y] = [choice("compute").value, columns.find((column) => column.name === choice("quality").value)];
    const several = choice("task").value === EVERY;
    const every = (several ? tasks : tasks.filter((task) => task.key === choice("task").value))
      .map((task) => scene(task, x, y, logX, logY));
    const scenes = every.filter((one) => !several || one.points.length);
    const compute = choice("compute").selectedOptions[0].textContent;
    const width = chart.clientWidth;
    const narrow = width < 560;
    const across = several ? Math.min(Math.max(Math.floor(width / 290), 1), 4, scenes.length || 1) : 1;
    const height = several ? 60 + 225 * Math.ceil(scenes.length / across) : narrow ? 340 : 440;
    const margin = several ? { l: 46, r: 10, t: 30, b: 34 } : { l: 58, r: narrow ? 8 : 16, t: 12, b: 52 };
    const places = boxes(scenes.length, width, height, across, margin);
    const size = several ? 8 : 11;
    const axis = {
      gridcolor: vml.colour("--line"), linecolor: vml.colour("--rule"), zeroline: false, ticks: "outside",
      tickcolor: vml.colour("--rule"), showline: true, exponentformat: "none", nticks: several ? 5 : 0, ticklen: 4,
    };
    const layout = {
      paper_bgcolor: "transparent", plot_bgcolor: "transparent", height, margin, showlegend: false, annotations: [],
      font: { family: getComputedStyle(document.body).fontFamily, size: several ? 11 : 13, color: vml.colour("--ink") },
      hoverlabel: { bgcolor: vml.colour("--raised"), bordercolor: vml.colour("--rule"), font: { color: vml.colour("--ink"), size: 13 } },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    };
    const drawn = scenes.flatMap((one, i) => {
      const end = i ? String(i + 1) : "";
      const box = places[i];
      const log = (on) => (on ? "log" : "linear");
      layout[`xaxis${end}`] = { ...axis, type: log(logX), domain: box.x, anchor: `y${end}`, range: one.ranges?.x };
      layout[`yaxis${end}`] = { ...axis, type: log(logY), domain: box.y, anchor: `x${end}`, range: one.ranges?.y };
      if (several) {
        layout.annotations.push({ text: `<b>${escape(one.task.title)}</b>  σ<sub>y</sub> = ${one.task.noise}`, showarrow: false,
          xref: "paper", yref: "paper", x: box.x[0], y: box.y[1], xanchor: "left", yanchor: "bottom", yshift: 3, font: { size: 12 } });
      }
      if (!one.points.length) return [];
      return traces(one, apart(one, box, size + 1, logX, logY), { x: compute, y }, size, { xaxis: `x${end}`, yaxis: `y${end}` });
    });
    if (!several) {
      layout.xaxis.title = { text: escape(compute) };
      layout.yaxis.title = { text: `${escape(y.title)} ${y.arrow}${y.unit ? ` (${escape(y.unit)})` : ""}` };
    }
    chart.style.minHeight = `${height}px`;
    const config = { displaylogo: false, displayModeBar: narrow ? false : "hover", responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
    Plotly.react(chart, drawn, layout, config);
    if (!chart.dataset.listens) {
      chart.dataset.listens = "1";
      chart.on("plotly_click", (event) => {
        const base = event.points[0].customdata?.[0];
        if (base) vml.provenance(base);
      });
    }
    const methods = [...new Set(scenes.flatMap((one) => one.points.map(({ row }) => row.dataset.method)))];
    methods.sort((a, b) => vml.mark(a).place - vml.mark(b).place);
    root.querySelector(".key").replaceChildren(...methods.map((method) => vml.element("li", { "data-tip": vml.mark(method).tip },
      vml.dot(method, vml.mark(method).hollow), vml.mark(method).title)));
    const where = (one) => (several ? `, ${one.task.title} at ${one.task.noise}` : "");
    const outside = scenes.flatMap((one) => one.far.map((far) => `${far.row.dataset.title} (${far.text}${where(one)})`));
    const gone = scenes.flatMap((one) => one.all.filter((point) => !one.points.includes(point)).map(({ row }) => row.dataset.title));
    const unknown = every.flatMap((one) => one.unknown.map(({ row }) => row.dataset.title));
    const list = (names) => names.slice(0, 8).join(", ") + (names.length > 8 ? ` and ${names.length - 8} more` : "");
    const named = several ? `Across: ${compute}; up: ${y.title}${y.unit ? ` in ${y.unit}` : ""}. ` : "";
    const sense = `${named}${y.better > 0 ? "Up" : "Down"} and to the left is better.`;
    root.querySelector(".caption").textContent =
      `${drawn.length ? sense : "No run to plot."} Bars are 95 % intervals; an open mark: other settings than the method's; a dot inside: some images diverged and are left out. Points that would hide each other stand side by side; pointing at one shows its compute, a click its run.` +
      (outside.length ? ` Outside the frame (double-click shows all): ${list(outside)}.` : "") +
      (gone.length ? ` Not on a log scale, being zero or less: ${list([...new Set(gone)])}.` : "") +
      (unknown.length ? ` Not shown, what it took not being known: ${list([...new Set(unknown)])}.` : "");
  }

  if (tasks.length > 1) choice("task").append(option(EVERY, "every task, small"));
  choice("task").append(...tasks.map((task) => option(task.key, `${task.title}, σ_y = ${task.noise}`)));
  const qualities = columns.filter((column) => column.better && has(column.name));
  choice("quality").append(...qualities.map((column) => option(column.name, column.label)));
  const preferred = ["lpips_alex", "psnr", "map_gap"].find((name) => qualities.some((column) => column.name === name));
  if (preferred) choice("quality").value = preferred;
  if (has("vjp")) choice("compute").append(option("passes", "network passes, NFE + VJP"));
  const costs = ["nfe", "vjp", "seconds", "memory_mb"].map((name) => columns.find((column) => column.name === name));
  for (const column of costs.filter((column) => column && has(column.name))) {
    choice("compute").append(option(column.name, `${column.title}${column.unit ? ` (${column.unit} per image)` : " per image"}`));
  }
  if (!qualities.length || !choice("compute").options.length) {
    root.hidden = true;
    return null;
  }
  const choose = vml.address.choices(root, "plot", vml.address.of(panel.dataset.panel));
  const restore = () => {
    choose();
    draw();
  };
  restore();
  root.addEventListener("change", draw);
  vml.whenSeen(chart, async () => {
    await vml.load("assets/plotly.min.js");
    ready = true;
    draw();
  });
  return { draw, restore };
};
