import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { EventMessage } from "#api-types/system.ts";
import { matchesEvent } from "#engine/events/event-filters.ts";

function event(Type: string, Action: string, ID: string, Attributes: Record<string, string>): EventMessage {
  return { Type, Action, Actor: { ID, Attributes }, scope: "local", time: 0, timeNano: 0 };
}

const exec = event("container", "exec_create: sh", "abcdef", {
  name: "web",
  image: "registry:5000/app:1",
  tier: "1",
  zone: "b",
});
const tag = event("image", "tag", "sha256:1234", { name: "registry:5000/app:1" });
const connect = event("network", "connect", "77aa", { name: "bridge", type: "bridge", container: "abcdef" });
const reload = event("daemon", "reload", "ID", { name: "host" });

const CASES: [what: string, event: EventMessage, filters: Record<string, string[]>, passes: boolean][] = [
  ["nothing asked", exec, {}, true],
  ["a name without values", exec, { type: [] }, true],
  ["alternatives, and all names", exec, { event: ["die", "exec_create"], container: ["web"] }, true],
  ["an action with its text", exec, { event: ["exec_create: sh"] }, true],
  ["the beginning of an action", exec, { event: ["exec"] }, false],
  ["another type", exec, { type: ["image"] }, false],
  ["the beginning of a name", exec, { container: ["we"] }, true],
  ["the beginning of an id", exec, { container: ["abc"] }, true],
  ["the end of a name", exec, { container: ["eb"] }, false],
  ["a container by a network's name", connect, { container: ["bridge"] }, false],
  ["a network", connect, { network: ["brid"] }, true],
  ["one label", exec, { label: ["tier"] }, true],
  ["labels that hold", exec, { label: ["tier=1", "zone=b"] }, true],
  ["labels of which one doesn't", exec, { label: ["tier=1", "zone=c"] }, false],
  ["a container's image", exec, { image: ["registry:5000/app:1"] }, true],
  ["a container's image without its tag", exec, { image: ["registry:5000/app"] }, true],
  ["an image's id", tag, { image: ["sha256:1234"] }, true],
  ["an image's name without its tag", tag, { image: ["registry:5000/app"] }, true],
  ["an image's registry", tag, { image: ["registry"] }, false],
  ["the scope there is", exec, { scope: ["local"] }, true],
  ["the scope there isn't", exec, { scope: ["swarm"] }, false],
  ["the daemon by name", reload, { daemon: ["host"] }, true],
  ["a container as the daemon", exec, { daemon: ["web"] }, false],
  ["a filter nobody knows", exec, { nonsense: ["1"] }, true],
];

describe("an event filter", () => {
  for (const [what, subject, filters, passes] of CASES) {
    it(`${passes ? "lets through" : "holds back"}: ${what}`, () => {
      assert.equal(matchesEvent(subject, filters), passes);
    });
  }
});
