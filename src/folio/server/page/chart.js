// Curves, drawn by uPlot, with the same in words and as a table. One may walk along them with the arrow keys.

import { fill, h, newId } from "./dom.js";

const FONT = "12px system-ui, sans-serif";
const MOST_ROWS = 24;
let loading = null;

/** Load uPlot once. It is a classic script, which leaves a global. */
function loadPlot() {
  loading ??= new Promise((resolve, reject) => {
    const script = h("script", { src: "/page/uplot/uPlot.iife.min.js" });
    script.onload = () => resolve(globalThis.uPlot);
    script.onerror = () => ((loading = null), reject(new Error("The file that draws curves could not be loaded.")));
    document.head.append(script);
  });
  return loading;
}

/** Return the running mean of values, each weighing `memory` times as much as the one after it; null stays null.
 *
 * The first ones are not pulled toward zero (bias correction). */
export function smoothed(values, memory) {
  let mean = 0;
  let weight = 0;
  return values.map((value) => {
    if (value == null) return null;
    mean = memory * mean + (1 - memory) * value;
    weight = memory * weight + (1 - memory);
    return mean / weight;
  });
}

/** Format a value with about four digits. */
export function figure(value) {
  if (value == null) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(2);
  return size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
}

/** Format the ticks of an axis, with as many decimals as the one that needs most. */
function alike(ticks) {
  const size = Math.max(...ticks.map(Math.abs));
  if (size >= 1e6 || (size && size < 0.0005)) return ticks.map(figure);
  const decimals = Math.max(...ticks.map((tick) => String(Number(tick.toFixed(6))).split(".")[1]?.length ?? 0));
  return ticks.map((tick) => tick.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
}

/** Return a chart: { node, draw(given), setTitle(words), setUnit(words) }.
 *
 * title: its name. x: what runs to the right, as "step". height: of the drawing. signal: when it ends.
 * given: { lines, band, levels, range, top, summary }
 *   lines   [{ label, x, y, look }]: look is one of LOOKS; a gap in x of a line whose look has no points is drawn as a gap
 *   band    { label, x, low, high }, or null
 *   levels  { name: value }: dotted lines; the summary is to name them
 *   range   [least, most] x; by default that of the lines
 *   top     the largest y that is worth showing
 *   within  y that are shown in any case
 *   summary what the curves say, in a sentence */
export function chart({ title, x, unit = "", height = 260, signal }) {
  const id = newId("chart");
  const name = h("span", {}, title);
  const units = h("span", { class: "quiet small" }, unit);
  const heading = h("h3", { id: `${id}-title` }, name, " ", units);
  const summary = h("p", { id, class: "small quiet" });
  const readout = h("output", { class: "readout small", "aria-live": "polite" });
  const drawing = h("div", {
    class: "plot", tabindex: "0", role: "group", "aria-roledescription": "chart", "aria-labelledby": `${id}-title`,
    "aria-describedby": id, onkeydown: walk,
  });
  const legend = h("ul", { class: "legend-list small", role: "list" });
  const table = h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `${title}, as a table` });
  const numbers = h("details", { class: "numbers", ontoggle: () => numbers.open && tabulate() }, h("summary", {}, "As a table"), table);
  const node = h("section", { class: "chart", "aria-labelledby": `${id}-title` },
    h("div", { class: "row between" }, heading, readout), drawing, legend, summary, numbers);
  let plot = null;
  let given = null;
  let data = null;
  let shape = "";
  let isZoomed = false;

  async function draw(next) {
    given = next;
    summary.textContent = next.summary ?? "";
    data = join(next);
    const nextShape = JSON.stringify([next.lines.map((line) => [line.label, line.look]), !!next.band, next.levels]);
    if (numbers.open) tabulate();
    const Plot = await loadPlot();
    if (signal.aborted || given !== next) return;
    if (plot && nextShape === shape) plot.setData(data.columns, !isZoomed);
    else if (drawing.clientWidth) build(Plot, nextShape);
  }

  function build(Plot, nextShape) {
    plot?.destroy();
    shape = nextShape;
    isZoomed = false;
    plot = new Plot(options(Plot), data.columns, drawing);
    fill(legend, legendOf(given));
  }

  function options(Plot) {
    const css = getComputedStyle(drawing);
    const color = (name) => css.getPropertyValue(name).trim();
    const axis = { stroke: color("--quiet"), font: FONT, grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, size: 52 };
    const series = given.lines.map((line) => seriesOf(line, color, Plot));
    const edge = { stroke: "transparent", width: 0, points: { show: false }, spanGaps: true };
    if (given.band) series.push({ ...edge, label: "high" }, { ...edge, label: "low" });
    return {
      width: drawing.clientWidth, height, legend: { show: false }, series: [{}, ...series],
      bands: given.band ? [{ series: [series.length - 1, series.length], fill: color("--band") }] : [],
      cursor: { y: false, drag: { x: true, y: false, setScale: true }, points: { size: 7 } },
      scales: { x: { time: false, range: (u, least, most) => (isZoomed ? [least, most] : given.range ?? [least, most]) }, y: { range: yRange } },
      axes: [
        { ...axis, size: 34, values: (u, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? tick.toLocaleString("en") : "")) },
        { ...axis, values: (u, ticks) => alike(ticks) },
      ],
      hooks: {
        setCursor: [(u) => told(u.cursor.idx)], setSelect: [(u) => (isZoomed = u.select.width > 0)],
        draw: [(u) => levels(u, color("--quiet"))],
      },
    };
  }

  function yRange(u, least, most) {
    const others = [...Object.values(given.levels ?? {}), ...(given.within ?? [])];
    const low = Math.min(least ?? 0, ...others);
    const high = Math.max(Math.min(most ?? 1, given.top ?? Infinity), ...others);
    const room = 0.06 * (high - low) || 0.5;
    return [low - room, high + room];
  }

  function levels(u, color) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.strokeStyle = color;
    ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const value of Object.values(given.levels ?? {})) {
      const y = u.valToPos(value, "y", true);
      if (y < bbox.top || y > bbox.top + bbox.height) continue;
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
    }
    ctx.restore();
  }

  function told(at) {
    const shown = at == null ? [] : given.lines.map((line, n) => [line.label, data.columns[n + 1][at]]).filter(([, y]) => y != null);
    readout.textContent = shown.length ? `${x} ${figure(data.columns[0][at])}: ${shown.map(([label, y]) => `${label} ${figure(y)}`).join(", ")}` : "";
  }

  function walk(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    if (!plot || !(event.key in steps)) return;
    event.preventDefault();
    const rows = data.told;
    const now = plot.cursor.idx ?? -1;
    const at = rows.findIndex((row) => row >= now);
    const next = rows[Math.min(rows.length - 1, Math.max(0, (now < 0 ? -1 : at) + steps[event.key]))] ?? rows[0];
    plot.setCursor({ left: plot.valToPos(data.columns[0][next], "x"), top: 0 });
  }

  function tabulate() {
    const held = given.lines.filter((line) => LOOKS[line.look].points);
    const all = data.told.filter((at) => !held.length || held.some((line) => data.columns[1 + given.lines.indexOf(line)][at] != null));
    const rows = all.length > MOST_ROWS ? Array.from({ length: MOST_ROWS }, (_, n) => all[Math.round((n * (all.length - 1)) / (MOST_ROWS - 1))]) : all;
    fill(table, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, x), given.lines.map((line) => h("th", { scope: "col" }, line.label)))),
      h("tbody", {}, rows.map((at) => h("tr", {}, h("th", { scope: "row" }, figure(data.columns[0][at])),
        given.lines.map((_, n) => h("td", {}, figure(data.columns[n + 1][at]))))))));
  }

  async function rebuild() {
    if (given && drawing.clientWidth) build(await loadPlot(), shape);
  }
  const resizing = new ResizeObserver(() => {
    if (plot && drawing.clientWidth && drawing.clientWidth !== plot.width) plot.setSize({ width: drawing.clientWidth, height });
    else if (!plot) rebuild();
  });
  resizing.observe(drawing);
  const theme = new MutationObserver(rebuild);
  theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", rebuild, { signal });
  signal.addEventListener("abort", () => (resizing.disconnect(), theme.disconnect(), plot?.destroy()));
  return { node, draw, setTitle: (words) => (name.textContent = words), setUnit: (words) => (units.textContent = words) };
}

/** How lines look. color: a property of the style sheet. points: whether each value is marked, and gaps are bridged. */
export const LOOKS = {
  raw: { color: "--curve-raw", width: 1 },
  line: { color: "--curve-1", width: 2 },
  held: { color: "--curve-2", width: 2, points: true },
  third: { color: "--curve-3", width: 2, points: true, dash: [6, 4] },
  fourth: { color: "--curve-4", width: 2, dash: [2, 3] },
  run1: { color: "--curve-1", width: 2, points: true },
  run2: { color: "--curve-2", width: 2, points: true, dash: [8, 3] },
  run3: { color: "--curve-3", width: 2, points: true, dash: [3, 3] },
  run4: { color: "--curve-4", width: 2, points: true, dash: [10, 3, 2, 3] },
};

function seriesOf(line, color, Plot) {
  const look = LOOKS[line.look];
  return {
    label: line.label, stroke: color(look.color), width: look.width, dash: look.dash, spanGaps: !!look.points,
    points: { show: !!look.points, size: 6, fill: color(look.color) },
  };
}

function legendOf({ lines, band }) {
  const items = lines.map((line) => h("li", {}, h("span", { class: `swatch ${line.look}`, "aria-hidden": "true" }), line.label));
  if (band) items.push(h("li", {}, h("span", { class: "swatch band", "aria-hidden": "true" }), band.label));
  return lines.length + (band ? 1 : 0) > 1 ? items : [];
}

/** Return all lines over one x: { columns: [x, ...ys, high, low], told: places where a line has a value }. */
function join({ lines, band }) {
  const all = band ? [...lines, { x: band.x, y: band.high, look: "held" }, { x: band.x, y: band.low, look: "held" }] : lines;
  const xs = new Set();
  for (const line of all) {
    line.x.forEach((value, at) => {
      xs.add(value);
      const next = line.x[at + 1];
      if (!LOOKS[line.look].points && next - value > 1) xs.add(value + 1); // what is missing is drawn as a gap
    });
  }
  const x = [...xs].sort((one, other) => one - other);
  const place = new Map(x.map((value, at) => [value, at]));
  const ys = all.map((line) => {
    const column = new Array(x.length).fill(null);
    line.x.forEach((value, at) => (column[place.get(value)] = line.y[at]));
    return column;
  });
  const told = x.map((_, at) => at).filter((at) => lines.some((_, n) => ys[n][at] != null));
  return { columns: [x, ...ys], told };
}
