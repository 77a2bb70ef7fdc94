// The verdict's table of ranks: one score at a time.
"use strict";
vml.board = (panel) => {
  const root = panel.querySelector(".part.verdicts");
  const choice = root?.querySelector('[data-choice="board"]');
  if (!choice) return null;
  const choose = vml.address.choices(root, "verdict", vml.address.of(panel.dataset.panel));
  const draw = () => {
    for (const table of root.querySelectorAll("[data-board]")) table.hidden = table.dataset.board !== choice.value;
  };
  const restore = () => {
    choose();
    draw();
  };
  choice.addEventListener("change", draw);
  restore();
  return { restore };
};
