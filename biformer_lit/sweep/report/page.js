// Sorting and filtering of the tables, and the charts. All numbers come with the page; nothing is fetched.
"use strict";

const charts = JSON.parse(document.getElementById("charts").textContent);
const table = document.getElementById("cells");
const form = document.getElementById("filter");

function sortable(sorted) {
  const heads = [...sorted.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const numeric = head.classList.contains("number");
      const key = (row) => {
        const text = row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
        return numeric ? parseFloat(text) : text;
      };
      const missing = (value) => value === "" || Number.isNaN(value);
      const rows = [...sorted.tBodies[0].rows];
      rows.sort((one, other) => {
        const a = key(one), b = key(other);
        if (missing(a) || missing(b)) return missing(a) - missing(b); // at the end, whichever way it is sorted
        const order = numeric ? a - b : a.localeCompare(b, undefined, { numeric: true });
        return ascending ? order : -order;
      });
      sorted.tBodies[0].append(...rows);
    });
  });
}

// a text as the charts hold it: plotly would take < for the start of markup
function plain(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function shownCells() {
  const words = form.elements.text.value.toLowerCase();
  const chosen = [...form.querySelectorAll("select")].filter((select) => select.value !== "");
  const shown = new Set();
  for (const row of table.tBodies[0].rows) {
    const factors = JSON.parse(row.dataset.factors);
    const visible = row.dataset.cell.toLowerCase().includes(words) &&
      chosen.every((select) => factors[select.name] === select.value);
    row.hidden = !visible;
    if (visible) shown.add(plain(row.dataset.cell));
  }
  document.getElementById("count").textContent = `${shown.size} of ${table.tBodies[0].rows.length} cells`;
  return shown;
}

function filter() {
  const shown = shownCells();
  if (!window.Plotly) return;
  for (const chart of charts) {
    const opacity = { "marker.opacity": [] }, points = [], visible = [], lines = [];
    chart.data.forEach((trace, i) => {
      if (trace.customdata) {
        points.push(i);
        opacity["marker.opacity"].push(trace.customdata.map((cell) => (shown.has(cell) ? 1 : 0.12)));
      } else if (trace.meta !== undefined) {
        lines.push(i);
        visible.push(shown.has(trace.meta));
      }
    });
    if (points.length) Plotly.restyle(chart.id, opacity, points);
    if (lines.length) Plotly.restyle(chart.id, { visible }, lines);
  }
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const [front, line] = ["--front", "--line"].map((name) => style.getPropertyValue(name).trim());
  return { front, line };
}

function themed(layout) {
  const { front, line } = colours();
  const result = { margin: { l: 70, r: 20, t: 44, b: 60 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, ...layout,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: front, size: 12 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: front } };
  const axes = new Set(["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))]);
  for (const key of axes) result[key] = { gridcolor: line, zerolinecolor: line, linecolor: line, ...layout[key] };
  return result;
}

function draw() {
  for (const chart of charts) {
    const place = document.getElementById(chart.id);
    const options = { responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtonsToRemove: ["select2d", "lasso2d"] };
    Plotly.react(place, chart.data, themed(chart.layout), options);
  }
}

document.querySelectorAll("table.sortable").forEach(sortable);
form.addEventListener("input", filter);
form.addEventListener("reset", () => setTimeout(filter));
form.addEventListener("submit", (event) => event.preventDefault());
shownCells();
window.addEventListener("load", () => {
  // after the first picture of the page: reading the library takes longer than drawing the tables
  requestAnimationFrame(() => setTimeout(() => {
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }));
});
