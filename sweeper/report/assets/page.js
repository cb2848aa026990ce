"use strict";

// Tables: a button in each heading sorts by that column; a missing figure stays last.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  if (!body || body.rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const isNumber = heading.classList.contains("number");
      const key = (row) => {
        const cell = row.cells[column];
        const value = cell.dataset.value;
        return value !== undefined ? Number(value) : isNumber ? NaN : cell.textContent;
      };
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        const [noX, noY] = [Number.isNaN(x), Number.isNaN(y)];
        if (noX || noY) return noX - noY;
        const sign = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
        return ascending ? sign : -sign;
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}

// Copy buttons appear only where copying works.
if (navigator.clipboard) {
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.parentNode.querySelector("code").textContent);
      button.textContent = "Copied";
    });
  }
}

// Charts.
const { config, charts } = JSON.parse(document.getElementById("charts").textContent);
const options = {
  mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, config,
  tooltip: { disableDefaultStyle: true },
};
const drawn = Object.entries(charts).map(([id, spec]) =>
  vegaEmbed(document.getElementById(id), spec, options).catch((error) => {
    console.error(id, error);
    document.getElementById(id).textContent = "This chart could not be drawn.";
  }),
);
Promise.all(drawn).then(() => document.documentElement.setAttribute("data-charts", "drawn"));
