// What all parts of the page share: data that comes as scripts, elements, numbers, focus, provenance.
"use strict";
const vml = (() => {
  const index = JSON.parse(document.getElementById("index").textContent);
  const waiting = new Map();

  /** Data scripts call this with what they carry. */
  function put(kind, key, value) {
    waiting.get(`${kind} ${key}`)?.resolve(value);
  }

  /** Load a script once; resolves to what it puts, or, without a kind, when it has run. */
  function load(source, kind = null, key = null) {
    const name = `${kind} ${key ?? source}`;
    if (!waiting.has(name)) {
      const entry = {};
      entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
      waiting.set(name, entry);
      const tag = document.createElement("script");
      tag.src = source;
      tag.onerror = () => entry.reject(new Error(`${source} is missing from the report's folder`));
      if (kind === null) tag.onload = () => entry.resolve();
      document.head.append(tag);
    }
    return waiting.get(name).promise;
  }

  /** An element; texts are text, never markup. */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === false || value === null || value === undefined) continue;
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  }

  /** A value as the leaderboard prints it. */
  function number(value, column) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (typeof value === "string") return value;
    let digits = column.digits;
    if (column.significant && value) {
      if (Math.abs(value) >= 1e6) return value.toExponential(1).replace("e+", "e");
      digits = Math.min(Math.max(column.significant - 1 - Math.floor(Math.log10(Math.abs(value))), 0), digits);
    }
    return value.toFixed(digits);
  }

  /** The range that holds all intervals but those of values far off, measured by how far the middle one is from the best. */
  function commonRange(cells, better) {
    const best = better < 0 ? Math.min(...cells.map((cell) => cell.value)) : Math.max(...cells.map((cell) => cell.value));
    const off = (cell) => Math.abs(cell.value - best);
    const middle = cells.map(off).sort((a, b) => a - b)[cells.length >> 1];
    const kept = cells.filter((cell) => off(cell) <= 3 * middle);
    return [Math.min(...kept.map((cell) => cell.low)), Math.max(...kept.map((cell) => cell.high))];
  }

  /** Run `start` when an element is about to be seen, once. */
  function whenSeen(target, start) {
    const observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        observer.disconnect();
        start();
      },
      { rootMargin: "300px" },
    );
    observer.observe(target);
  }

  /** A colour of the theme, by name or in CSS, as the browser computes it. */
  function colour(text) {
    const probe = element("span", { style: `color: ${text.startsWith("--") ? `var(${text})` : text}`, hidden: true });
    document.body.append(probe);
    const computed = getComputedStyle(probe).color;
    probe.remove();
    return computed;
  }

  /** What a method's mark looks like, and its place among methods. */
  const mark = (method) => index.methods[method];

  /** A method's mark, as the leaderboard has it. */
  function dot(method, hollow) {
    const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    const given = { class: hollow ? "dot hollow" : "dot", viewBox: "-6 -6 12 12", style: `--dot: ${mark(method).colour}; --fill: ${mark(method).fill}`, "aria-hidden": "true" };
    for (const [name, value] of Object.entries(given)) svg.setAttribute(name, value);
    path.setAttribute("d", mark(method).path);
    svg.append(path);
    return svg;
  }

  /** Arrow keys move the focus among the items that `rows` returns, a list of lines of elements. */
  function arrows(container, rows) {
    container.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step) return;
      const lines = rows();
      const y = lines.findIndex((line) => line.includes(document.activeElement));
      if (y < 0) return;
      const line = lines[Math.min(Math.max(y + step[0], 0), lines.length - 1)];
      const x = lines[y].indexOf(document.activeElement) + step[1];
      const next = line[Math.min(Math.max(x, 0), line.length - 1)];
      event.preventDefault();
      next?.focus();
    });
  }

  /** A command, and a button that copies it. */
  const command = (text) => element("p", { class: "command" }, element("code", {}, text),
    element("button", { type: "button", "data-copy": true }, "copy"));

  /** Show where a run's numbers come from; the number that was asked for stands first. */
  async function provenance(base, asked = null) {
    const dialog = document.querySelector("dialog.provenance");
    const content = dialog.querySelector(".content");
    const title = dialog.querySelector("h2");
    title.textContent = "Provenance";
    content.replaceChildren("…");
    if (!dialog.open) dialog.showModal();
    vml.address.shown().set("run", base);
    try {
      const run = await load(`${base}provenance.js`, "run", base);
      title.textContent = run.label;
      const facts = run.facts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]);
      const links = run.files.map((file) => element("a", { href: base + file, class: "file" }, file));
      const texts = Object.entries(run.texts).map(([name, text]) =>
        element("details", { open: name === run.open }, element("summary", {}, name),
          element("pre", { tabindex: 0 }, text)));
      content.replaceChildren(
        ...(asked ? [element("p", { class: "asked" }, element("b", {}, asked.value), ` ${asked.title}`,
          element("span", {}, asked.interval))] : []),
        ...(run.command ? [element("p", { class: "caption" }, "What made it, and goes on with it:"), command(run.command)] : []), element("dl", {}, ...facts), element("p", { class: "files" }, ...links), ...texts);
      dialog.scrollTop = 0;
    } catch (error) {
      content.replaceChildren(element("p", { class: "alarm" }, error.message));
    }
  }

  return { index, put, load, element, number, commonRange, whenSeen, colour, mark, dot, arrows, provenance, panels: {} };
})();
