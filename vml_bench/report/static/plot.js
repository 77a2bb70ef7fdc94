// Quality against compute: one point per run, with its intervals; the plotting library comes when the plot is near.
"use strict";
vml.plot = (panel, table) => {
  const root = panel.querySelector(".part.plot");
  const chart = root.querySelector(".chart");
  const { columns, tasks } = vml.index.panels[panel.dataset.panel];
  const choice = (name) => root.querySelector(`[data-choice="${name}"]`);
  const option = (value, text) => vml.element("option", { value }, text);
  let ready = false;

  const rowsOf = (task) => [...panel.querySelectorAll(`section.task[data-task="${CSS.escape(task)}"] tbody tr`)];
  const cellOf = (row, name) => row.querySelector(`td[data-column="${CSS.escape(name)}"]`);
  const has = (name) => [...panel.querySelectorAll(`td[data-column="${CSS.escape(name)}"]`)].some((c) => c.dataset.value);
  const finite = (text) => (text === undefined || !Number.isFinite(+text) ? null : +text);

  /** A run as a point; "passes" adds forward and backward passes of the network. */
  function point(row, x, y) {
    const value = (name) => finite(cellOf(row, name)?.dataset.value);
    const quality = cellOf(row, y);
    const at = x === "passes" ? (value("nfe") ?? 0) + (value("vjp") ?? 0) : value(x);
    const [low, high] = [finite(quality?.dataset.low), finite(quality?.dataset.high)];
    return { row, x: at, y: finite(quality?.dataset.value), low, high, text: quality?.innerText.split("\n")[0] };
  }

  /** The points that no other beats in both respects, cheapest first. */
  function front(points, better) {
    const kept = [];
    for (const one of [...points].sort((a, b) => a.x - b.x || better * (b.y - a.y))) {
      if (+one.row.dataset.diverged === 0 && (!kept.length || better * (one.y - kept.at(-1).y) > 0)) kept.push(one);
    }
    return kept;
  }

  function traces(points, named, better) {
    const methods = Map.groupBy
      ? Map.groupBy(points, (one) => one.row.dataset.method)
      : points.reduce((map, one) => map.set(one.row.dataset.method, [...(map.get(one.row.dataset.method) ?? []), one]), new Map());
    const best = front(points, better);
    const line = {
      x: best.map((one) => one.x), y: best.map((one) => one.y), mode: "lines", name: "not beaten in both",
      line: { color: vml.colour("--muted"), width: 1, dash: "dot", shape: "hv" }, hoverinfo: "skip",
    };
    const marks = [...methods].map(([method, group]) => {
      const { colour: own, symbol } = vml.mark(method);
      const colour = vml.colour(own);
      const hollow = group.map((one) => "hollow" in one.row.dataset);
      const lost = group.map((one) => +one.row.dataset.diverged);
      return {
        x: group.map((one) => one.x), y: group.map((one) => one.y), mode: "markers", name: escape(method),
        customdata: group.map((one) => one.row.dataset.run),
        text: group.map((one, i) => escape(one.row.dataset.label) + (lost[i] ? `<br>${lost[i]} diverged, left out` : "")),
        hovertemplate: `<b>%{text}</b><br>${escape(named.y.title)} %{y}<br>${named.x.title} %{x}<extra></extra>`,
        marker: {
          color: colour, size: 11, line: { width: hollow.map((open) => (open ? 2 : 1)), color: vml.colour("--paper") },
          symbol: lost.map((n, i) => symbol + (hollow[i] ? "-open" : "") + (n ? "-dot" : "")),
        },
        error_y: {
          type: "data", symmetric: false, thickness: 1.3, width: 0, color: colour,
          array: group.map((one) => (one.high === null ? 0 : one.high - one.y)),
          arrayminus: group.map((one) => (one.low === null ? 0 : one.y - one.low)),
        },
      };
    });
    return best.length > 1 ? [line, ...marks] : marks;
  }

  /** The library reads a few tags in its texts; names have none. */
  const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  function draw() {
    if (!ready) return;
    const [logX, logY] = [choice("log-x").checked, choice("log-y").checked];
    const [x, y] = [choice("compute").value, columns.find((column) => column.name === choice("quality").value)];
    const methods = table.methods();
    const all = rowsOf(choice("task").value).map((row) => point(row, x, y.name))
      .filter((one) => methods.has(one.row.dataset.method) && one.x !== null && one.y !== null);
    const points = all.filter((one) => (!logX || one.x > 0) && (!logY || one.y > 0));
    const compute = choice("compute").selectedOptions[0].textContent;
    const narrow = chart.clientWidth < 560;
    const axis = {
      gridcolor: vml.colour("--line"), linecolor: vml.colour("--rule"), zeroline: false, ticks: "outside",
      tickcolor: vml.colour("--rule"), showline: true, automargin: true,
    };
    const layout = {
      paper_bgcolor: "transparent", plot_bgcolor: "transparent", height: narrow ? 340 : 440,
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: vml.colour("--ink") },
      margin: { l: 58, r: narrow ? 8 : 16, t: 12, b: 52 },
      xaxis: { ...axis, title: { text: compute }, type: logX ? "log" : "linear" },
      yaxis: { ...axis, title: { text: `${escape(y.title)} ${y.arrow}${y.unit ? ` (${escape(y.unit)})` : ""}` }, type: logY ? "log" : "linear" },
      showlegend: !narrow, legend: { x: 1.01, y: 1 },
      hoverlabel: { bgcolor: vml.colour("--raised"), bordercolor: vml.colour("--rule"), font: { color: vml.colour("--ink") } },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    };
    const [low, high] = vml.commonRange(points.map((one) => ({ value: one.y, low: one.low ?? one.y, high: one.high ?? one.y })), y.better);
    const pad = logY ? 0 : 0.06 * (high - low);
    if (pad > 0) layout.yaxis.range = [low - pad, high + pad];
    const far = pad > 0 ? points.filter((one) => one.y < low - pad || one.y > high + pad) : [];
    if (!logX && points.length) {
      const most = Math.max(...points.map((one) => one.x)) || 1;
      layout.xaxis.range = [-0.03 * most, 1.05 * most];
    }
    const config = { displaylogo: false, displayModeBar: narrow ? false : "hover", responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
    Plotly.react(chart, traces(points, { x: { title: escape(compute) }, y }, y.better), layout, config);
    if (!chart.dataset.listens) {
      chart.dataset.listens = "1";
      chart.on("plotly_click", (event) => {
        const base = event.points[0].customdata;
        if (base) vml.provenance(base);
      });
    }
    const shown = narrow ? [...new Set(points.map((one) => one.row.dataset.method))] : [];
    root.querySelector(".key").replaceChildren(...shown.map((method) => vml.element("li", {},
      vml.dot(method, vml.mark(method).hollow), method)));
    const outside = far.map((one) => `${one.row.dataset.label} (${one.text})`).join(", ");
    const gone = all.filter((one) => !points.includes(one)).map((one) => one.row.dataset.label);
    const sense = y.better > 0 ? "Up and to the left is better." : "Down and to the left is better.";
    root.querySelector(".caption").textContent =
      `${points.length ? sense : "No run to plot."} Bars are 95 % intervals; an open mark: other settings than the method's; a dot inside: some images diverged and are left out. A point links to its run.` +
      (outside ? ` Outside this frame (double-click shows all): ${outside}.` : "") +
      (gone.length ? ` Not on a log scale, being zero or less: ${gone.join(", ")}.` : "");
  }

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
    return { draw: () => undefined };
  }
  root.addEventListener("change", draw);
  vml.whenSeen(chart, async () => {
    await vml.load("assets/plotly.min.js");
    ready = true;
    draw();
  });
  return { draw };
};
