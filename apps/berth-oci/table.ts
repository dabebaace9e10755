/** Columns as wide as their widest entry and three more, at least twelve, as runc's listings have them. */

const MINIMUM = 12;
const GAP = 3;

/** Rows of equal length → lines. The last column is as wide as what is in it. */
export function table(rows: readonly (readonly string[])[]): string {
  const columns = rows[0]?.length ?? 0;
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(MINIMUM, ...rows.map((row) => (row[column]?.length ?? 0) + GAP)),
  );
  return rows
    .map(
      (row) =>
        `${row.map((cell, at) => (at === columns - 1 ? cell : cell.padEnd(widths[at] ?? 0))).join("")}\n`,
    )
    .join("");
}
