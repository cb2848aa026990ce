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

// Charts: vector graphics whose text takes the page's colour, so that light, dark and print need nothing more.
const config = {
  background: null,
  aria: false, // a screen reader gets the description and the table, not thousands of marks
  font: "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif",
  view: { stroke: null },
  text: { color: "currentColor" },
  axis: {
    labelColor: "currentColor", titleColor: "currentColor", domainColor: "#8888", tickColor: "#8888", gridColor: "#8883",
    labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal",
  },
  legend: {
    labelColor: "currentColor", titleColor: "currentColor", labelFontSize: 12, orient: "bottom", title: null, symbolSize: 90,
    symbolOpacity: 1, symbolBaseStrokeColor: "currentColor",
  },
  header: { labelColor: "currentColor", titleColor: "currentColor" },
};
const options = {
  mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, config,
  tooltip: { disableDefaultStyle: true },
};
const charts = JSON.parse(document.getElementById("charts").textContent);
const drawn = Object.entries(charts).map(([id, spec]) =>
  vegaEmbed(document.getElementById(id), spec, options).catch((error) => {
    console.error(id, error);
    document.getElementById(id).textContent = "This chart could not be drawn.";
  }),
);
Promise.all(drawn).then(() => document.documentElement.setAttribute("data-charts", "drawn"));
