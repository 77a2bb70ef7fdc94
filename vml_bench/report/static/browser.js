// The images of one problem: which one, in which order, its scores under every method, and each method's extremes.
"use strict";
vml.browser = (panel, table) => {
  const root = panel.querySelector(".part.images");
  const known = new Map(vml.index.panels[panel.dataset.panel].tasks.map((task) => [task.key, task]));
  const choice = (name) => root.querySelector(`[data-choice="${name}"]`);
  const strip = root.querySelector(".strip");
  const viewer = vml.viewer(root.querySelector(".browser"));
  const { element } = vml;
  let cell = null; // the data of the problem in sight
  let order = [];
  let current = 0; // place of the image in sight
  const state = vml.address.of(panel.dataset.panel);
  let usual = {}; // what is chosen where the address says nothing

  const series = () => [...cell.given, ...cell.restored];
  const score = () => cell.scores.find((one) => one.name === choice("score").value);
  const source = (one, place) => (one.missing.includes(place) ? null : one.base + cell.files[place]);
  const value = (one, name, place) => one.scores?.[name]?.[place] ?? null;
  const printed = (one, column, place) => `${vml.number(value(one, column.name, place), column)}${column.unit ? ` ${column.unit}` : ""}`;
  const dot = (one) => vml.dot(one.method, one.hollow);

  function why(one, place) {
    const status = one.status?.[place];
    return status === "missing" ? "not run" : status === "diverged" ? "diverged, no picture" : "no picture";
  }

  function note(one, place) {
    if (!one.status) return "";
    return one.status[place] === "ok" ? printed(one, score(), place) : one.status[place] === "missing" ? "not run" : "diverged";
  }

  /** Places of a method's images, worst first: what diverged, what scores worst …; not run: left out. */
  function ranking(one, column) {
    const places = [...cell.ids.keys()].filter((place) => one.status[place] !== "missing");
    const lost = places.filter((place) => one.status[place] !== "ok");
    const worth = (place) => (value(one, column.name, place) === "∞" ? Infinity : value(one, column.name, place));
    const good = places.filter((place) => one.status[place] === "ok" && worth(place) !== null);
    return { lost, good: good.sort((a, b) => (column.better || -1) * (worth(a) - worth(b) || 0) || a - b) };
  }

  function thumbnail(path, alt) {
    return path ? element("img", { src: path, alt, loading: "lazy", decoding: "async" }) : element("span", { class: "absent" }, "–");
  }

  function showImage(place) {
    current = place;
    const id = cell.ids[place];
    for (const side of ["left", "right"]) {
      const one = series()[+choice(side).value];
      viewer.show(side, source(one, place), one.title, note(one, place), why(one, place));
    }
    root.querySelector(".which").textContent = `${order.indexOf(place) + 1} of ${cell.ids.length}`;
    root.querySelector(".image-name").textContent = id;
    for (const button of strip.children) {
      const on = +button.dataset.place === place;
      button.setAttribute("aria-selected", on);
      button.tabIndex = on ? 0 : -1;
      if (on) strip.scrollLeft = button.offsetLeft - strip.offsetLeft - strip.clientWidth / 2 + 30;
    }
    showScores(place);
    showGrid(place);
    remember();
  }

  /** Write into the address what is otherwise than usual. */
  function remember() {
    const now = {
      task: choice("task").value, score: choice("score").value, order: choice("order").value, image: cell.ids[current],
      ...Object.fromEntries(["left", "right"].map((side) => [side, series()[+choice(side).value].label])),
    };
    for (const [key, value] of Object.entries(now)) state.set(`images.${key}`, value === usual[key] ? null : value);
  }

  /** One image as it is, as it was measured, and under every method. */
  function showGrid(place) {
    const tiles = series().map((one, i) => {
      if (one.method && !table.methods().has(one.method)) return null;
      return element("figure", {},
        element("button", { type: "button", "aria-pressed": String(choice("right").value === String(i)), onclick: () => {
          choice("right").value = String(i);
          choose();
        } }, thumbnail(source(one, place), `${one.title}: ${cell.ids[place]}`)),
        element("figcaption", {}, one.method ? dot(one) : "", element("b", {}, one.title), element("span", {}, note(one, place))));
    });
    root.querySelector(".grid").replaceChildren(...tiles.filter(Boolean));
  }

  function showScores(place) {
    const head = element("tr", {}, element("th", { scope: "col", class: "name" }, "method"),
      ...cell.scores.map((column) => element("th", { scope: "col", class: "number" }, column.title,
        column.unit ? element("small", {}, ` ${column.unit}`) : "")), element("th", { scope: "col" }, element("span", { class: "sr" }, "show at")));
    const best = Object.fromEntries(cell.scores.filter((column) => column.better).map((column) => {
      const all = cell.restored.map((one) => +vml.number(value(one, column.name, place), column)).filter(Number.isFinite);
      return [column.name, all.length > 1 ? (column.better > 0 ? Math.max(...all) : Math.min(...all)) : null];
    }));
    const rows = cell.restored.map((one, i) => {
      const at = String(i + cell.given.length);
      const name = element("th", { scope: "row", class: "name" }, element("button", { type: "button", class: "link",
        "data-tip": vml.mark(one.method).tip, onclick: () => vml.provenance(one.run) }, dot(one), one.title));
      const ok = one.status[place] === "ok";
      const cells = ok
        ? cell.scores.map((column) => {
          const text = vml.number(value(one, column.name, place), column);
          return element("td", { class: `number${best[column.name] === +text ? " best" : ""}` }, text);
        })
        : [element("td", { colspan: cell.scores.length, class: "diverged" }, one.status[place] === "missing" ? "not run" : "diverged")];
      const put = (side) => element("button", { type: "button", "aria-label": `${one.title} ${side}`, title: `show ${side}`,
        "aria-pressed": String(choice(side).value === at),
        onclick: () => { choice(side).value = at; choose(); } }, side === "left" ? "◧" : "◨");
      return element("tr", { hidden: !table.methods().has(one.method) }, name, ...cells,
        element("td", { class: "sides" }, put("left"), put("right")));
    });
    root.querySelector("table.scores").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }

  function showStrip() {
    const right = series()[+choice("right").value];
    order = [...cell.ids.keys()];
    if (choice("order").value !== "given" && right.status) {
      const { lost, good } = ranking(right, score());
      const rest = order.filter((place) => !lost.includes(place) && !good.includes(place));
      order = choice("order").value === "worst" ? [...lost, ...good, ...rest] : [...good.reverse(), ...lost, ...rest];
    }
    const shown = right.status ? right : cell.given[0];
    strip.replaceChildren(...order.map((place) => element("button", {
      type: "button", role: "option", "data-place": place, tabindex: -1, title: cell.ids[place],
      class: right.status && right.status[place] === "diverged" ? "diverged" : null,
      onclick: () => showImage(place),
    }, thumbnail(source(shown, place) ?? source(cell.given[0], place), cell.ids[place]))));
  }

  function showExtremes() {
    const column = score();
    root.querySelector(".by").textContent = `by ${column.title}`;
    const card = (one, at, title, place) => element("figure", {},
      element("button", { type: "button", title: cell.ids[place], onclick: () => {
        choice("left").value = "0";
        choice("right").value = String(at);
        choose(place);
        root.querySelector(".frame").scrollIntoView({ block: "center" });
        root.querySelector(".frame").focus({ preventScroll: true });
      } }, thumbnail(source(one, place), `${one.title}, ${title}: ${cell.ids[place]}`)),
      element("figcaption", {}, element("b", {}, title), ` ${one.status[place] === "ok" ? vml.number(value(one, column.name, place), column) : ""}`));
    const lines = cell.restored.map((one, i) => {
      if (!table.methods().has(one.method)) return null;
      const { lost, good } = ranking(one, column);
      const at = i + cell.given.length;
      const cards = lost.slice(0, 3).map((place) => card(one, at, "diverged", place));
      if (lost.length > 3) cards.push(element("p", { class: "more" }, `and ${lost.length - 3} more diverged`));
      if (good.length) {
        cards.push(card(one, at, "worst", good[0]), card(one, at, "median", good[(good.length - 1) >> 1]), card(one, at, "best", good.at(-1)));
      }
      return element("section", { "aria-label": one.title, class: lost.length ? "lost" : null, "data-lost": lost.length },
        element("h4", {}, dot(one), one.title), element("div", {}, ...cards));
    }).filter(Boolean);
    lines.sort((a, b) => b.dataset.lost - a.dataset.lost);
    root.querySelector(".extremes").replaceChildren(...lines);
  }

  function choose(place = current) {
    showStrip();
    showImage(place);
  }

  function fillChoices() {
    const kept = Object.fromEntries(["left", "right"].map((side) => [side, choice(side).selectedOptions[0]?.dataset.label]));
    for (const side of ["left", "right"]) {
      choice(side).replaceChildren(...series().map((one, i) => element("option", { value: i, "data-label": one.label }, one.title)));
    }
    const name = choice("score").value;
    const scores = cell.scores.filter((column) => column.better);
    choice("score").replaceChildren(...(scores.length ? scores : cell.scores).map((column) => element("option", { value: column.name }, column.title)));
    const offered = [...choice("score").options].map((one) => one.value);
    usual = {
      task: choice("task").options[0].value, order: "given", image: cell.ids[0],
      left: series()[1].label, right: series().at(-1).label,
      score: ["lpips_alex", "psnr"].find((wanted) => offered.includes(wanted)) ?? offered[0],
    };
    for (const side of ["left", "right"]) {
      const find = (label) => series().findIndex((one) => one.label === label);
      choice(side).value = [state.get(`images.${side}`), kept[side], usual[side]].map(find).find((i) => i >= 0);
    }
    choice("score").value = [state.get("images.score"), name, usual.score].find((wanted) => offered.includes(wanted)) ?? "";
    choice("order").value = state.get("images.order") ?? choice("order").value;
  }

  async function open() {
    const { data } = known.get(choice("task").value);
    try {
      cell = await vml.load(data, "cell", data);
    } catch (error) {
      root.querySelector(".image-name").textContent = error.message;
      return;
    }
    fillChoices();
    const wanted = cell.ids.indexOf(state.get("images.image"));
    choose(wanted < 0 ? Math.min(current, cell.ids.length - 1) : wanted);
    showExtremes();
  }

  root.addEventListener("change", (event) => {
    const name = event.target.dataset.choice;
    if (name === "task") {
      state.set("images.task", choice("task").value);
      open();
    } else if (cell && name) {
      showStrip();
      showImage(name === "order" ? order[0] : current);
      if (name === "score") showExtremes();
    }
  });
  root.addEventListener("click", (event) => {
    const step = event.target.closest("[data-step]");
    if (step && cell) showImage(order[(order.indexOf(current) + +step.dataset.step + order.length) % order.length]);
  });
  strip.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !cell) return;
    event.preventDefault();
    showImage(order[Math.min(Math.max(order.indexOf(current) + step, 0), order.length - 1)]);
    strip.querySelector('[aria-selected="true"]').focus({ preventScroll: true });
  });

  /** Put everything as the address says; what it does not say is as usual. */
  function restore() {
    const { options } = choice("task");
    choice("task").value = [...options].some((one) => one.value === state.get("images.task")) ? state.get("images.task") : options[0].value;
    choice("order").value = "given";
    for (const name of ["left", "right", "score"]) choice(name).replaceChildren();
    current = 0;
    if (cell) open();
  }
  restore();
  vml.whenSeen(root, () => cell ?? open());
  return {
    restore,
    methodsChanged: () => { if (cell) { showScores(current); showGrid(current); showExtremes(); } },
    goTo: (key) => { choice("task").value = key; open(); root.scrollIntoView(); },
  };
};
