// Two pictures under a slider, enlarged without smoothing.
"use strict";
vml.viewer = (root) => {
  const frame = root.querySelector(".frame");
  const slider = root.querySelector(".slider");
  const scale = root.querySelector("output.scale");
  const layers = { left: frame.querySelector(".layer.left"), right: frame.querySelector(".layer.right") };
  const view = { zoom: 1, x: 0, y: 0 };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function place() {
    const [width, height] = [frame.clientWidth, frame.clientHeight];
    view.x = clamp(view.x, width * (1 - view.zoom), 0);
    view.y = clamp(view.y, height * (1 - view.zoom), 0);
    frame.style.setProperty("--view", `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`);
    frame.classList.toggle("zoomed", view.zoom > 1);
    scale.textContent = `${view.zoom}×`;
  }

  /** Enlarge about a point of the frame, given in its own pixels. */
  function zoomTo(zoom, at = [frame.clientWidth / 2, frame.clientHeight / 2]) {
    const next = clamp(zoom, 1, 16);
    view.x = at[0] - ((at[0] - view.x) * next) / view.zoom;
    view.y = at[1] - ((at[1] - view.y) * next) / view.zoom;
    view.zoom = next;
    place();
  }

  function slide(percent) {
    slider.value = clamp(percent, 0, 100);
    frame.style.setProperty("--cut", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${Math.round(slider.value)} % left`);
  }

  /** Show a picture on one side; `why` says what stands there where it has none. */
  function show(side, source, name, note, why) {
    const picture = layers[side].querySelector("img");
    const absent = layers[side].querySelector(".absent");
    picture.hidden = !source;
    absent.hidden = Boolean(source);
    absent.textContent = why;
    if (source) picture.src = source;
    else picture.removeAttribute("src");
    picture.alt = name;
    const tag = frame.querySelector(`.tag.${side}`);
    tag.replaceChildren(vml.element("b", {}, name), note ? ` ${note}` : "");
  }

  layers.left.querySelector("img").addEventListener("load", ({ target }) => {
    frame.style.aspectRatio = `${target.naturalWidth} / ${target.naturalHeight}`;
  });
  slider.addEventListener("input", () => slide(+slider.value));

  let drag = null;
  frame.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const box = frame.getBoundingClientRect();
    const near = Math.abs(event.clientX - box.left - (slider.value / 100) * box.width) < 28;
    drag = view.zoom > 1 && !near ? { x: event.clientX - view.x, y: event.clientY - view.y } : { box };
    frame.setPointerCapture(event.pointerId);
    if (drag.box) slide((100 * (event.clientX - box.left)) / box.width);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!drag) return;
    if (drag.box) return void slide((100 * (event.clientX - drag.box.left)) / drag.box.width);
    Object.assign(view, { x: event.clientX - drag.x, y: event.clientY - drag.y });
    place();
  });
  for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => (drag = null));
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = frame.getBoundingClientRect();
    zoomTo(event.deltaY < 0 ? view.zoom * 2 : view.zoom / 2, [event.clientX - box.left, event.clientY - box.top]);
  }, { passive: false });
  frame.addEventListener("keydown", (event) => {
    const pan = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    if (event.key === "+" || event.key === "=") zoomTo(view.zoom * 2);
    else if (event.key === "-") zoomTo(view.zoom / 2);
    else if (event.key === "0") zoomTo(1);
    else if (pan && view.zoom > 1) {
      Object.assign(view, { x: view.x + pan[0], y: view.y + pan[1] });
      place();
    } else if (pan && pan[0]) slide(+slider.value - pan[0] / 20);
    else return;
    event.preventDefault();
  });
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom]");
    if (button) zoomTo({ in: view.zoom * 2, out: view.zoom / 2, fit: 1 }[button.dataset.zoom]);
  });
  new ResizeObserver(place).observe(frame);
  slide(50);
  place();
  return { show };
};
