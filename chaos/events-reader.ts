/**
 * One who reads the events from the beginning to the end, over every daemon: each end of a container must come once.
 *
 * What a daemon has not told yet when it is killed is lost, as with dockerd; the next one tells of what it found ended.
 */
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { EventMessage } from "#api-types/system.ts";

export class EventsReader {
  readonly #socketPath: string;
  /** Exit codes of every end told, by container. */
  readonly ends = new Map<string, number[]>();
  /** Of the last events, to know those that are told again when a new reader asks for the past. */
  readonly #seen = new Set<string>();
  /** Seconds. */
  #last = 0;
  #closed = false;
  #events = 0;
  #end: () => void = () => {};

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
    this.#last = Math.floor(Date.now() / 1000);
  }

  get events(): number {
    return this.#events;
  }

  /** Reads until `close`. */
  async run(): Promise<void> {
    while (!this.#closed) {
      await this.#read();
      await sleep(20);
    }
  }

  close(): void {
    this.#closed = true;
    this.#end();
  }

  async #read(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const path = `/events?since=${this.#last}`;
    const sent = request({ socketPath: this.#socketPath, path, agent: false }, (answer) => {
      let rest = "";
      answer.setEncoding("utf8");
      answer.on("data", (text: string) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) this.#note(line);
      });
      answer.on("error", () => {});
      answer.on("close", resolve);
    });
    sent.on("error", () => resolve());
    sent.end();
    this.#end = () => sent.destroy();
    await promise;
  }

  #note(line: string): void {
    if (line.trim() === "" || this.#seen.has(line)) return;
    this.#seen.add(line);
    if (this.#seen.size > 4000) this.#seen.delete(this.#seen.values().next().value ?? "");
    this.#events++;
    const { Type, Action, Actor, time } = JSON.parse(line) as EventMessage;
    this.#last = Math.max(this.#last, time - 1);
    if (Type !== "container" || Action !== "die") return;
    const before = this.ends.get(Actor.ID) ?? [];
    this.ends.set(Actor.ID, [...before, Number(Actor.Attributes.exitCode)]);
  }
}
