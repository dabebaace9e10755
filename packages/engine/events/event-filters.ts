/** Which events a `docker events --filter` lets through. Pure; the rules are dockerd's (API, GET /events). */
import type { EventMessage } from "#api-types/system.ts";
import type { Filters } from "#engine/engine-types.ts";

/** Names whose value is an object's id or name, or how one of these begins. */
const OBJECTS = new Set([
  "container",
  "network",
  "volume",
  "daemon",
  "plugin",
  "node",
  "service",
  "secret",
  "config",
]);
/** Actions that carry a text after a colon, and are asked for without it. */
const WITH_TEXT = ["health_status", "exec_create", "exec_start"];

/** Values of one filter name are alternatives (labels must all hold); different names must all hold. */
export function matchesEvent(event: EventMessage, filters: Filters): boolean {
  return Object.entries(filters).every(([name, values]) => {
    if (values.length === 0) return true;
    if (name === "label") return values.every((value) => hasLabel(event, value));
    return values.some((value) => matchesOne(event, name, value));
  });
}

function matchesOne(event: EventMessage, name: string, value: string): boolean {
  const { ID, Attributes } = event.Actor;
  if (OBJECTS.has(name)) {
    return event.Type === name && [ID, Attributes.name ?? ""].some((text) => text.startsWith(value));
  }
  switch (name) {
    case "type":
      return event.Type === value;
    case "event":
      return event.Action === value || (WITH_TEXT.includes(value) && event.Action.startsWith(`${value}:`));
    case "image": {
      const asked = (event.Type === "image" ? Attributes.name : Attributes.image) ?? "";
      const names = event.Type === "image" ? [ID, asked] : [asked];
      return names.some((text) => text === value || withoutTag(text) === value);
    }
    case "scope":
      return value === event.scope;
    default:
      return true;
  }
}

function hasLabel({ Actor }: EventMessage, value: string): boolean {
  const [key = "", wanted] = splitOnce(value, "=");
  return key in Actor.Attributes && (wanted === undefined || Actor.Attributes[key] === wanted);
}

/** "registry:5000/name:tag@digest" → "registry:5000/name" */
function withoutTag(reference: string): string {
  return reference.replace(/@.*$/, "").replace(/:[^/]*$/, "");
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
