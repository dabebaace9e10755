/** Which events a `docker events --filter` lets through. Pure. */
import type { EventMessage } from "#api-types/system.ts";
import type { Filters } from "#engine/engine-types.ts";

/** Values of one filter name are alternatives; different names must all hold. */
export function matchesEvent(event: EventMessage, filters: Filters): boolean {
  return Object.entries(filters).every(([name, values]) =>
    values.length === 0 ? true : values.some((value) => matchesOne(event, name, value)),
  );
}

function matchesOne(event: EventMessage, name: string, value: string): boolean {
  const attributes = event.Actor.Attributes;
  switch (name) {
    case "type":
      return event.Type === value;
    case "event":
      // "exec_create: sh" and "health_status: healthy" match by their first word too.
      return event.Action === value || event.Action.startsWith(`${value}:`);
    case "container":
    case "network":
    case "volume":
      return event.Type === name && (event.Actor.ID.startsWith(value) || attributes.name === value);
    case "image":
      return (
        (event.Type === "image" && (event.Actor.ID === value || attributes.name === value)) ||
        (event.Type === "container" && attributes.image === value)
      );
    case "label": {
      const [key = "", wanted] = splitOnce(value, "=");
      return key in attributes && (wanted === undefined || attributes[key] === wanted);
    }
    case "scope":
      return value === "local";
    default:
      return true;
  }
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
