// One data set at a time, by the address's hash; its parts begin when it is first shown.
"use strict";
(() => {
  const panels = [...document.querySelectorAll("section.panel")];
  const links = [...document.querySelectorAll("nav.sets a")];
  const root = document.documentElement;
  const button = document.querySelector("button.theme");

  function begin(panel) {
    const parts = {};
    vml.panels[panel.dataset.panel] = parts;
    if (!panel.querySelector(".part.table")) return;
    parts.table = vml.table(panel, () => {
      parts.plot?.draw();
      parts.browser?.methodsChanged();
    });
    parts.board = vml.board(panel);
    parts.plot = vml.plot(panel, parts.table);
    if (panel.querySelector(".part.images")) parts.browser = vml.browser(panel, parts.table);
    panel.addEventListener("click", (event) => {
      const to = event.target.closest(".to-images");
      if (to) parts.browser.goTo(to.dataset.task);
    });
  }

  function show() {
    const [id, said] = vml.address.read();
    const target = document.getElementById(id);
    const shown = target?.closest("section.panel") ?? panels.find((panel) => !panel.hidden) ?? panels[0];
    const name = shown.dataset.panel;
    vml.address.go(target ? id : "", name, said);
    for (const panel of panels) panel.hidden = panel !== shown;
    for (const link of links) {
      if (link.dataset.panel === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (!vml.panels[name]) begin(shown);
    else if (said) for (const part of Object.values(vml.panels[name])) part?.restore();
    if (target && target !== shown) target.scrollIntoView();
    else if (target) scrollTo(0, 0);
    const run = vml.address.of(name).get("run");
    if (run && document.querySelector(`[data-run="${CSS.escape(run)}"]`)) vml.provenance(run);
  }

  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  function themed() {
    button.setAttribute("aria-pressed", dark());
    for (const parts of Object.values(vml.panels)) parts.plot?.draw();
  }
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try {
      localStorage.setItem("vml-theme", root.dataset.theme);
    } catch {
      // without storage the choice lasts as long as the page
    }
    themed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);

  const dialog = document.querySelector("dialog.provenance");
  dialog.addEventListener("close", () => vml.address.shown().set("run", null));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  addEventListener("hashchange", show);
  for (const panel of panels.slice(1)) panel.hidden = true;
  show();
  themed();
})();
