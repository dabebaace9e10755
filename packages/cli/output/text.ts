/** Small pieces of text that several tables share. */

/** The twelve digits that stand for an id. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, "").slice(0, 12);
}

/** At most so many characters, the last an ellipsis if something was cut. */
export function ellipsis(text: string, most: number): string {
  const characters = [...text];
  return characters.length <= most ? text : `${characters.slice(0, most - 1).join("")}…`;
}

interface LocalTime {
  day: string;
  clock: string;
  /** "+01:00" */
  offset: string;
}

function local(milliseconds: number): LocalTime {
  const date = new Date(milliseconds);
  const two = (number: number) => String(number).padStart(2, "0");
  const minutes = -date.getTimezoneOffset();
  const size = Math.abs(minutes);
  return {
    day: `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`,
    clock: `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`,
    offset: `${minutes < 0 ? "-" : "+"}${two(Math.trunc(size / 60))}:${two(size % 60)}`,
  };
}

/** "2026-01-02 15:04:05 +0100 CET" of milliseconds since the epoch. */
export function localTime(milliseconds: number): string {
  const { day, clock, offset } = local(milliseconds);
  const zone = offset === "+00:00" ? "UTC" : zoneName(milliseconds);
  return `${day} ${clock} ${offset.replace(":", "")} ${zone}`;
}

function zoneName(milliseconds: number): string {
  const parts = new Intl.DateTimeFormat("en-US", { timeZoneName: "short" }).formatToParts(milliseconds);
  return parts.find((part) => part.type === "timeZoneName")?.value ?? "";
}

/** "2026-01-02T15:04:05.000000006+01:00" of milliseconds since the epoch and nine digits of fraction. */
export function zonedTime(milliseconds: number, fraction: string): string {
  const { day, clock, offset } = local(milliseconds);
  return `${day}T${clock}.${fraction}${offset === "+00:00" ? "Z" : offset}`;
}
