"""What the page of a report looks like, and the few lines of script in it. Nothing of it asks anybody for anything."""

STYLE = """
:root { color-scheme: light dark;
  --paper: #ffffff; --sheet: #f5f6f8; --ink: #1c2330; --soft: #5c6675; --line: #d9dee6;
  --main: #2463c4; --faint: #8a94a3; --good: #1a7f4b; --bad: #c2373f; --warn: #b26a00; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14181f; --sheet: #1c222c; --ink: #e6e9ef; --soft: #9aa5b5; --line: #323b49;
  --main: #6ea8fe; --faint: #7d8898; --good: #4cc38a; --bad: #f2777f; --warn: #e0a23b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 20px 20px 60px; }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 36px 0 10px; }
h3 { font-size: 15px; margin: 24px 0 6px; }
p { margin: 4px 0; } .soft { color: var(--soft); } .note { color: var(--soft); font-size: 13px; margin: 4px 0 0; }
.warning { border-left: 4px solid var(--warn); background: var(--sheet); padding: 8px 12px; margin: 12px 0;
  overflow-wrap: anywhere; }
.key { display: grid; grid-template-columns: repeat(auto-fill, minmax(165px, 1fr)); gap: 10px; margin: 18px 0; padding: 0; }
.key div { background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; min-width: 0; }
.key dt { color: var(--soft); font-size: 13px; } .key dd { margin: 0; font-size: 17px; font-weight: 600;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
nav { display: flex; flex-wrap: wrap; gap: 2px 16px; padding: 8px 0; border-bottom: 1px solid var(--line); }
a { color: var(--main); }
.chart { width: 100%; min-height: 130px; overflow: hidden; }
.side-by-side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 0 32px;
  align-items: start; }
.side-by-side > * { min-width: 0; }
.scroll { overflow-x: auto; max-width: 100%; /* a shade at the side at which there is more of the table */
  background: linear-gradient(to right, var(--paper) 30%, transparent) left / 40px 100% no-repeat local,
    linear-gradient(to left, var(--paper) 30%, transparent) right / 40px 100% no-repeat local,
    linear-gradient(to right, var(--faint), transparent) left / 10px 100% no-repeat scroll,
    linear-gradient(to left, var(--faint), transparent) right / 10px 100% no-repeat scroll; }
.tall { max-height: 560px; overflow-y: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top;
  white-space: nowrap; }
td.wide { white-space: normal; overflow-wrap: anywhere; min-width: 240px; }
th.n, td.n { text-align: right; } th:last-child, td:last-child { padding-right: 4px; }
th { position: sticky; top: 0; background: var(--paper); color: var(--soft); font-weight: 600; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid var(--main); }
th[aria-sort="ascending"] button::after { content: " \\2191"; } th[aria-sort="descending"] button::after { content: " \\2193"; }
td:first-child { white-space: pre; } .pairs td:first-child { white-space: pre-wrap; }
.pairs td.n { white-space: normal; overflow-wrap: anywhere; }
details { border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; margin: 10px 0; }
summary { cursor: pointer; font-weight: 600; }
pre { background: var(--sheet); padding: 12px; border-radius: 8px; overflow: auto; max-height: 560px; font-size: 13px;
  line-height: 1.45; }
@media (max-width: 600px) { main { padding: 14px 12px 40px; } .key { grid-template-columns: repeat(2, 1fr); gap: 8px; }
  .key dd { font-size: 15px; } table { font-size: 13px; } h1 { font-size: 20px; } }
@media print { .tall, pre { max-height: none; } nav { display: none; } }
"""

SCRIPT = """
"use strict";
(function () {
  const charts = JSON.parse(document.getElementById("chart-data").textContent);
  const NAMES = ["paper", "sheet", "ink", "soft", "line", "main", "faint", "good", "bad", "warn"];
  const COLOURED = new Set(["color", "fillcolor"]);

  function colours() {
    const style = getComputedStyle(document.documentElement), found = {};
    for (const name of NAMES) found[name] = style.getPropertyValue("--" + name).trim();
    return found;
  }

  function painted(value, found, key) {
    if (key === "colorscale") return value.map(([at, name]) => [at, found[name] || name]);
    if (Array.isArray(value)) return value.map((each) => (each && typeof each === "object" ? painted(each, found, "") : each));
    if (value && typeof value === "object") {
      const copy = {};
      for (const name of Object.keys(value)) copy[name] = painted(value[name], found, name);
      return copy;
    }
    return COLOURED.has(key) && found[value] ? found[value] : value;
  }

  function layout(own, found) {
    const narrow = window.innerWidth < 600;
    const axis = { gridcolor: found.line, linecolor: found.line, zerolinecolor: found.line, automargin: true,
      ticklabelstandoff: 4 };
    const whole = painted(own, found, "");
    whole.xaxis = Object.assign({ nticks: narrow ? 5 : 12 }, axis, whole.xaxis);
    whole.yaxis = Object.assign({}, axis, whole.yaxis);
    // Without a distance of its own a title stands where there is room, which may be on the numbers.
    for (const each of [whole.xaxis, whole.yaxis]) if (each.title) each.title = Object.assign({ standoff: 8 }, each.title);
    return Object.assign({
      height: narrow ? 300 : 360, autosize: true, hovermode: "closest",
      margin: { l: narrow ? 44 : 60, r: 12, t: 30, b: 40 },
      paper_bgcolor: found.paper, plot_bgcolor: found.paper,
      font: { color: found.ink, size: narrow ? 11 : 12, family: "system-ui, sans-serif" },
      colorway: [found.main, found.warn, found.good, found.bad, found.faint],
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", traceorder: "normal", bgcolor: "rgba(0,0,0,0)" }
    }, whole);
  }

  // Twelve months on a phone have no room for two digits behind the point: a touch shows them.
  function traces(own, found) {
    const painted_ = painted(own, found, "");
    if (window.innerWidth >= 600) return painted_;
    return painted_.map((trace) => trace.type !== "heatmap" ? trace
      : Object.assign({}, trace, { texttemplate: "%{z:.1f}", textfont: { size: 8 } }));
  }

  const config = { responsive: false, displaylogo: false, showLink: false, plotlyServerURL: "",
    displayModeBar: window.innerWidth < 600 ? false : "hover",
    modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]] };

  function draw() {
    const found = colours();
    for (const chart of charts) {
      const place = document.getElementById("chart-" + chart.name);
      try {
        Plotly.react(place, traces(chart.data, found), layout(chart.layout, found), config);
      } catch (error) {
        place.textContent = "This chart could not be drawn: " + error;
        console.error(error);
      }
    }
    document.documentElement.dataset.drawn = String(charts.length);
  }

  function sorted(button) {
    const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
    const index = Array.prototype.indexOf.call(head.parentNode.children, head);
    const up = head.getAttribute("aria-sort") === "descending";
    const rows = Array.from(body.rows).map((row, place) => {
      const cell = row.cells[index], order = cell.dataset.order;
      return { row, place, text: cell.textContent, number: order === undefined ? null : Number(order) };
    });
    rows.sort((one, other) => {
      if ((one.number === null) !== (other.number === null)) return one.number === null ? 1 : -1;
      const by = one.number === null ? one.text.localeCompare(other.text) : one.number - other.number;
      return (up ? by : -by) || one.place - other.place;
    });
    for (const each of head.parentNode.children) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...rows.map((each) => each.row));
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("th button");
    if (button) sorted(button);
  });
  // A window that becomes narrower, a phone that is turned: each chart follows its place.
  const fitting = new ResizeObserver((entries) => {
    for (const entry of entries) {
      const drawn = entry.target._fullLayout;
      if (drawn && Math.abs(drawn.width - entry.contentRect.width) >= 1) Plotly.relayout(entry.target, { autosize: true });
    }
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
  for (const chart of charts) fitting.observe(document.getElementById("chart-" + chart.name));
})();
"""
