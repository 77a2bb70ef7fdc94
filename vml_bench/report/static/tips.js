// What a term means, shown beside it while it is pointed at or has the focus.
"use strict";
(() => {
  const tip = document.getElementById("tip");
  let owner = null;

  function hide() {
    owner?.removeAttribute("aria-describedby");
    owner = null;
    tip.hidden = true;
  }

  function show(target) {
    if (target === owner) return;
    hide();
    if (!target) return;
    owner = target;
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    target.setAttribute("aria-describedby", "tip");
    place();
  }

  function place() {
    if (!owner) return;
    const [at, own] = [owner.getBoundingClientRect(), tip.getBoundingClientRect()];
    const below = at.bottom + 6 + own.height < innerHeight;
    tip.style.left = `${Math.max(8, Math.min(at.left, document.documentElement.clientWidth - own.width - 8))}px`;
    tip.style.top = `${below ? at.bottom + 6 : at.top - own.height - 6}px`;
  }

  const of = (event) => (event.target instanceof Element ? event.target.closest("[data-tip]") : null);
  addEventListener("pointerover", (event) => show(of(event)));
  addEventListener("focusin", (event) => show(of(event)));
  addEventListener("focusout", hide);
  addEventListener("scroll", place, { capture: true, passive: true });
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
})();
