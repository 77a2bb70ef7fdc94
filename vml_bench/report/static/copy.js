// Copying: commands, and what is in sight of a table as Markdown or LaTeX.
"use strict";
(() => {
  const LATEX = {
    "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", $: "\\$", "#": "\\#", _: "\\_", "{": "\\{", "}": "\\}",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "↑": "$\\uparrow$", "↓": "$\\downarrow$", "∞": "$\\infty$",
    "−": "$-$", "–": "--", "·": "$\\cdot$", "σ": "$\\sigma$", "Π": "$\\Pi$", "×": "$\\times$", "η": "$\\eta$",
  };
  const latex = (text) => text.replace(/[\\&%$#_{}~^↑↓∞−–·σΠ×η]/g, (sign) => LATEX[sign]);
  const markdown = (text) => text.replace(/[\\`*_[\]#|~$]/g, "\\$&").replace(/&/g, "&amp;").replace(/</g, "&lt;");
  const words = (node) => node.textContent.replace(/[\s\u00a0]+/g, " ").trim();

  /** The headings and the rows in sight of a table: texts, with best 1, second best 2 or neither 0. */
  function seen(table) {
    const inSight = (line) => [...line.cells].filter((cell) => cell.offsetParent !== null);
    const heads = inSight(table.tHead.rows[0]).map((cell) => {
      const heading = cell.cloneNode(true);
      heading.querySelector(".sr")?.remove();
      return words(heading);
    });
    const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => inSight(row).map((cell, i) => {
      if (!i) return { text: row.dataset.title, mark: 0 };
      const interval = [...cell.querySelectorAll(".interval")].find((one) => one.offsetParent);
      const text = words(cell.querySelector("a, .none") ?? cell) + (interval ? ` ${words(interval)}` : "");
      return { text, mark: cell.classList.contains("best") ? 1 : cell.classList.contains("second") ? 2 : 0 };
    }));
    return { heads, rows };
  }

  const as = {
    markdown: ({ heads, rows }) => [
      `| ${heads.map(markdown).join(" | ")} |`,
      `| ${heads.map((_, i) => (i ? "---:" : ":---")).join(" | ")} |`,
      ...rows.map((row) => `| ${row.map(({ text, mark }) => (mark === 1 ? `**${markdown(text)}**` : markdown(text))).join(" | ")} |`),
    ],
    latex: ({ heads, rows }) => [
      `\\begin{tabular}{l${"r".repeat(heads.length - 1)}}`, "\\toprule", `${heads.map(latex).join(" & ")} \\\\`, "\\midrule",
      ...rows.map((row) => `${row.map(({ text, mark }) =>
        (mark ? `\\${mark === 1 ? "textbf" : "underline"}{${latex(text)}}` : latex(text))).join(" & ")} \\\\`),
      "\\bottomrule", "\\end{tabular}",
    ],
  };

  let last = {}; // the button that says "copied", and what it says otherwise

  /** Put a text on the clipboard; a page from disk may have none, but may still copy what is selected. */
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = vml.element("textarea", { class: "sr", readonly: true });
      (document.querySelector("dialog[open]") ?? document.body).append(area);
      area.value = text;
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  addEventListener("click", async (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-copy], [data-table]") : null;
    if (!button) return;
    const kind = button.dataset.table;
    const text = kind
      ? `${as[kind](seen(button.closest("section.task").querySelector("table"))).join("\n")}\n`
      : button.closest(".command").querySelector("code").textContent;
    await copy(text);
    if (last.button) last.button.textContent = last.words;
    last = { button, words: button.textContent };
    button.textContent = "copied";
  });
})();
