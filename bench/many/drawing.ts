/** Curves over the number of containers: as an SVG file, and as lines of text. Pure. */

/** A point: containers, value. */
export type Point = readonly [x: number, y: number];

export interface Curve {
  name: string;
  points: readonly Point[];
}

export interface Chart {
  title: string;
  /** Of the values. */
  unit: string;
  /** Smooth curves; what they are drawn through is drawn as dots beneath. */
  curves: readonly (Curve & { dots?: readonly Point[] })[];
}

const WIDTH = 720;
const HEIGHT = 260;
const EDGE = { left: 64, right: 150, top: 34, bottom: 34 };
/** Told apart also by those who see red and green alike. */
const COLOURS = ["#1b6ca8", "#d1691f", "#5a9a3c", "#8d5fb0"];

/** Charts one below the other, in one file. */
export function svgOf(charts: readonly Chart[]): string {
  const height = charts.length * HEIGHT;
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...charts.flatMap((chart, n) => [
      `<g transform="translate(0 ${n * HEIGHT})">`,
      ...chartLines(chart),
      "</g>",
    ]),
    "</svg>",
  ];
  return `${lines.join("\n")}\n`;
}

function chartLines({ title, unit, curves }: Chart): string[] {
  const all = curves.flatMap(({ points, dots = [] }) => [...points, ...dots]);
  const [right, top] = [roundUp(Math.max(1, ...all.map(([x]) => x))), ceilingOf(curves)];
  const plot = { width: WIDTH - EDGE.left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
  const across = (x: number) => round(EDGE.left + (x / right) * plot.width);
  const down = (y: number) => round(EDGE.top + plot.height - (Math.min(y, top) / top) * plot.height);
  const lines = [`<text x="${EDGE.left}" y="18" font-size="13">${escaped(`${title}, ${unit}`)}</text>`];
  for (let part = 0; part <= 4; part++) {
    const [x, y] = [(right * part) / 4, (top * part) / 4];
    lines.push(
      `<path d="M${EDGE.left} ${down(y)}H${EDGE.left + plot.width}" stroke="#dddddd"/>`,
      `<text x="${EDGE.left - 6}" y="${down(y) + 4}" text-anchor="end" fill="#555555">${figure(y)}</text>`,
      `<text x="${across(x)}" y="${HEIGHT - 14}" text-anchor="middle" fill="#555555">${figure(x)}</text>`,
    );
  }
  curves.forEach(({ name, points, dots = [] }, n) => {
    const colour = COLOURS[n % COLOURS.length];
    const marks = dots.map(([x, y]) => `M${across(x)} ${down(y)}h1`).join("");
    if (marks !== "") lines.push(`<path d="${marks}" stroke="${colour}" stroke-width="1.4" opacity="0.35"/>`);
    const path = points.map(([x, y], index) => `${index === 0 ? "M" : "L"}${across(x)} ${down(y)}`).join("");
    lines.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    const y = EDGE.top + 12 + 18 * n;
    const x = WIDTH - EDGE.right + 12;
    lines.push(
      `<path d="M${x} ${y - 4}h16" stroke="${colour}" stroke-width="2"/>`,
      `<text x="${x + 22}" y="${y}">${escaped(name)}</text>`,
    );
  });
  return lines;
}

const ROWS = 10;
const COLUMNS = 64;

/** One chart as text, each curve with a letter of its own: that of its place, from a on. */
export function textOf({ title, unit, curves }: Chart): string[] {
  const right = roundUp(Math.max(1, ...curves.flatMap(({ points }) => points.map(([x]) => x))));
  const top = ceilingOf(curves);
  const cells = Array.from({ length: ROWS }, () => Array.from({ length: COLUMNS }, () => " "));
  curves.forEach(({ points }, n) => {
    for (const [x, y] of points) {
      const column = Math.min(COLUMNS - 1, Math.floor((x / right) * COLUMNS));
      const row = ROWS - 1 - Math.min(ROWS - 1, Math.floor((Math.min(y, top) / top) * ROWS));
      const line = cells[row];
      if (line !== undefined) line[column] = String.fromCharCode(97 + n);
    }
  });
  return [
    `${title}, ${unit}`,
    ...cells.map((row, n) => {
      const label = n === 0 ? figure(top) : n === ROWS - 1 ? "0" : "";
      return `${label.padStart(8)} |${row.join("").trimEnd()}`;
    }),
    `${" ".repeat(8)} +${"-".repeat(COLUMNS)}`,
    `${" ".repeat(9)}0${`${figure(right)} containers`.padStart(COLUMNS)}`,
    ...curves.map(({ name }, n) => `${" ".repeat(10)}${String.fromCharCode(97 + n)} ${name}`),
  ];
}

/** The median of every `width` values, at the middle of them: a curve through what jumps. */
export function smoothed(values: readonly number[], width: number): Point[] {
  const points: Point[] = [];
  for (let from = 0; from < values.length; from += width) {
    const part = values.slice(from, from + width).sort((one, other) => one - other);
    points.push([from + part.length / 2, part[part.length >> 1] ?? 0]);
  }
  return points;
}

/** High enough for the curves; a dot far above all is drawn at the edge. */
function ceilingOf(curves: Chart["curves"]): number {
  const high = Math.max(...curves.flatMap(({ points }) => points.map(([, y]) => y)), 1e-9);
  return roundUp(high * 1.15);
}

/** To 1, 2, 2.5 or 5 times a power of ten, or what is between in steps of a tenth of it. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const step =
    [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10].find((one) => one * power >= value * (1 - 1e-9)) ?? 10;
  return step * power;
}

function figure(value: number): string {
  return value >= 10 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
