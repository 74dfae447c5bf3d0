/** Charts as SVG, drawn anew at each change: lines over time, bars by class, small lines in a table. */

const NS = "http://www.w3.org/2000/svg";

/** One line of a chart. */
export interface Series {
  readonly name: string;
  readonly values: readonly number[];
}

/** A chart's height, and the room of its words, px. */
const [HEIGHT, LEFT, BOTTOM, TOP] = [180, 46, 20, 8];

function node(name: string, attributes: Readonly<Record<string, string | number>>, text = ""): SVGElement {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.textContent = text;
  return element;
}

/** A round number at or above what is drawn, so that the scale does not jump with every value. */
export function ceiling(value: number): number {
  if (value <= 0) return 1;
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * step).find((round) => round >= value) ?? value;
}

/** A number in few letters: 1.2k, 3.4M. */
export function brief(value: number): string {
  const units = ["", "k", "M", "G", "T"];
  let unit = 0;
  while (Math.abs(value) >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const text = Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "");
  return `${text}${units[unit] ?? ""}`;
}

/** A duration in the unit that fits. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  return seconds < 1 ? `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0).replace(/\.0$/, "")} ms` : `${seconds.toFixed(1)} s`;
}

/** Lines over time, the newest at the right. `span`: how many values fill the width. */
export function lines(place: HTMLElement, series: readonly Series[], span: number): void {
  const width = Math.max(place.clientWidth, 280);
  const top = ceiling(Math.max(...series.flatMap((each) => each.values), 0));
  const [right, floor] = [width, HEIGHT - BOTTOM];
  const x = (n: number, count: number): number => right - ((count - 1 - n) * (right - LEFT)) / Math.max(span - 1, 1);
  const y = (value: number): number => floor - (value / top) * (floor - TOP);
  const now = series.map((each) => `${each.name} ${brief(each.values.at(-1) ?? 0)}`).join(", ");
  const svg = node("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": `Now: ${now}` });
  for (const part of [0, 0.5, 1]) {
    const at = y(top * part);
    svg.append(node("line", { class: "grid", x1: LEFT, x2: right, y1: at, y2: at }));
    svg.append(node("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, brief(top * part)));
  }
  svg.append(node("text", { x: LEFT, y: HEIGHT - 3 }, `${span} s ago`), node("text", { x: right, y: HEIGHT - 3, "text-anchor": "end" }, "now"));
  for (const { name, values } of series) {
    if (values.length === 0) continue;
    const points = values.map((value, n) => `${x(n, values.length).toFixed(1)},${y(value).toFixed(1)}`);
    const first = x(0, values.length).toFixed(1);
    svg.append(node("polygon", { class: `area ${name}`, points: `${first},${floor} ${points.join(" ")} ${right},${floor}` }));
    svg.append(node("polyline", { class: `line ${name}`, points: points.join(" "), "stroke-width": 1.8 }));
  }
  place.replaceChildren(svg);
}

/** Bars by class, each with its name below. */
export function bars(place: HTMLElement, classes: readonly { readonly name: string; readonly value: number }[], label: string): void {
  const width = Math.max(place.clientWidth, 280);
  const top = Math.max(...classes.map((each) => each.value), 1);
  const floor = HEIGHT - BOTTOM;
  const step = width / Math.max(classes.length, 1);
  const svg = node("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": label });
  svg.append(node("line", { class: "grid", x1: 0, x2: width, y1: floor, y2: floor }));
  // As many names as have room, about 46 px each.
  const every = Math.ceil(46 / step);
  classes.forEach(({ name, value }, n) => {
    const height = (value / top) * (floor - TOP);
    const bar = node("rect", { class: "bar", x: n * step + 1, y: floor - height, width: Math.max(step - 2, 1), height, rx: 2 });
    bar.append(node("title", {}, `${name}: ${value}`));
    svg.append(bar);
    if (n % every === 0) svg.append(node("text", { x: (n + 0.5) * step, y: HEIGHT - 4, "text-anchor": "middle" }, name));
  });
  place.replaceChildren(svg);
}

/** A small line for a table's cell. */
export function spark(values: readonly number[], span: number): SVGElement {
  const top = Math.max(...values, 1);
  const x = (n: number): number => 120 - ((values.length - 1 - n) * 120) / Math.max(span - 1, 1);
  const points = values.map((value, n) => `${x(n).toFixed(1)},${(20 - (value / top) * 18).toFixed(1)}`).join(" ");
  const svg = node("svg", { viewBox: "0 0 120 22", "aria-hidden": "true" });
  svg.append(node("polyline", { class: "line in", points }));
  return svg;
}
