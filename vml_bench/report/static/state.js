// The page's state in its address, "#<place>?key=value&…": a place is an element's id, keys are of the data set in sight.
"use strict";
vml.address = (() => {
  const kept = new Map(); // by data set; only what differs from how the page begins
  const [begun, none] = [new URLSearchParams(), ""];
  let [place, shown] = [none, none];

  function write() {
    const said = String(kept.get(shown) ?? none);
    if (place || said) history.replaceState(null, none, `#${place}${said && `?${said}`}`);
  }

  /** The place that the address names, and the state behind it; null where it says nothing of that. */
  function read() {
    const [id, ...said] = location.hash.slice(1).split("?");
    return [id, said.length ? new URLSearchParams(said.join("?")) : null];
  }

  /** Show a place of a data set; `said` takes the place of the state that was kept of it. */
  function go(id, panel, said) {
    [place, shown] = [id, panel];
    if (said) kept.set(panel, said);
    write();
  }

  /** What is kept of a data set: values by key. */
  const of = (panel) => ({
    get: (key) => (kept.get(panel) ?? begun).get(key),
    all: (key) => (kept.get(panel) ?? begun).getAll(key),
    set: (key, ...values) => {
      const params = kept.get(panel) ?? new URLSearchParams();
      params.delete(key);
      for (const value of values) if (value !== null) params.append(key, value);
      kept.set(panel, params);
      if (panel === shown) write();
    },
  });

  /** Keep the choices of a part; returns what puts them as the address says, or as they began. */
  function choices(root, prefix, state) {
    const value = (one) => (one.type === "checkbox" ? String(one.checked) : one.value);
    const first = new Map([...root.querySelectorAll("[data-choice]")].map((one) => [one, value(one)]));
    root.addEventListener("change", ({ target }) => {
      if (!first.has(target)) return;
      state.set(`${prefix}.${target.dataset.choice}`, value(target) === first.get(target) ? null : value(target));
    });
    return () => {
      for (const [one, begin] of first) {
        const said = state.get(`${prefix}.${one.dataset.choice}`) ?? begin;
        if (one.type === "checkbox") one.checked = said === "true";
        else one.value = [...one.options].some((option) => option.value === said) ? said : begin;
      }
    };
  }

  return { read, go, of, choices, shown: () => of(shown) };
})();
