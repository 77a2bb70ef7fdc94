// Light or dark, as the reader chose last, before anything is drawn.
"use strict";
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("vml-theme");
  } catch {
    // a page without storage follows the system
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
