/** `berth stats`: what containers use, again and again. */
import type { ContainerSummary } from "#api-types/container.ts";
import type { EventMessage } from "#api-types/system.ts";
import type { Command, Context } from "#cli/command.ts";
import { messageOf } from "#cli/command.ts";
import { type StatsMessage, statsFormat, statsRow } from "#cli/output/stats-row.ts";
import { renderList } from "#cli/output/table.ts";
import type { Client } from "#client/client.ts";
import { jsonLines } from "#client/json-lines.ts";

/** How often the screen is drawn anew, ms. */
const REDRAW_MS = 500;
const CLEAR = "\x1b[2J\x1b[H";

const command: Command = {
  usage: "[OPTIONS] [CONTAINER...]",
  flags: [
    { name: "all", short: "a", type: "bool", help: "Those that do not run as well" },
    { name: "format", type: "string", help: "'table', 'table TEMPLATE', 'json' or a Go template" },
    { name: "no-stream", type: "bool", help: "Only once" },
    { name: "no-trunc", type: "bool", help: "Do not shorten" },
  ],
  takes: [0, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    const client = await context.client();
    const names = flags.positional;
    const shown = new Shown(client, !flags.bool("no-stream"));
    const list = names.length > 0 ? names : await running(client, flags.bool("all"));
    await Promise.all(list.map((name) => shown.add(name)));
    // A name that is wrong is told at once; what has gone since the list was made is passed over.
    if (names.length > 0 && shown.errors.length > 0) return fail(shown, context);
    const draw = () => {
      const rows = shown.rows(!flags.bool("no-trunc"));
      context.stdout.write(renderList(rows, statsFormat, flags.string("format")));
    };
    if (flags.bool("no-stream")) {
      await shown.ended();
      draw();
      return 0;
    }
    // Events keep the connection, and with it the program, as long as nobody ends it.
    const following = names.length > 0 ? shown.ended() : follow(client, shown, flags.bool("all"));
    const timer = setInterval(() => {
      context.stdout.write(CLEAR);
      draw();
    }, REDRAW_MS);
    await following.finally(() => clearInterval(timer));
    return 0;
  },
};
export default command;

async function running(client: Client, all: boolean): Promise<string[]> {
  const query = all ? { all: 1 } : {};
  const containers = await client.json<ContainerSummary[]>("GET", "/containers/json", { query });
  return containers.map(({ Id }) => Id.slice(0, 12));
}

async function follow(client: Client, shown: Shown, all: boolean): Promise<void> {
  const filters = JSON.stringify({ type: { container: true } });
  const stream = await client.request("GET", "/events", { query: { filters } });
  for await (const { Action, Actor } of jsonLines<EventMessage>(stream)) {
    const id = Actor.ID.slice(0, 12);
    if (Action === (all ? "create" : "start")) await shown.add(id);
    if (Action === (all ? "destroy" : "die")) shown.remove(id);
  }
}

function fail(shown: Shown, context: Context): number {
  for (const error of shown.errors) context.stderr.write(`${messageOf(error)}\n`);
  shown.stop();
  return 1;
}

/** Containers whose figures come in, in the order they were added. */
class Shown {
  readonly errors: unknown[] = [];
  readonly #client: Client;
  readonly #stream: boolean;
  readonly #messages = new Map<string, StatsMessage | undefined>();
  readonly #reading = new Map<string, { read: Promise<void>; stop: AbortController }>();

  constructor(client: Client, stream: boolean) {
    this.#client = client;
    this.#stream = stream;
  }

  /** Resolves when it is known whether there is such a container. */
  async add(name: string): Promise<void> {
    if (this.#messages.has(name)) return;
    this.#messages.set(name, undefined);
    const stop = new AbortController();
    const path = `/containers/${encodeURIComponent(name)}/stats`;
    try {
      const answer = await this.#client.request("GET", path, {
        query: { stream: this.#stream ? 1 : 0 },
        signal: stop.signal,
      });
      const read = this.#read(name, jsonLines<StatsMessage>(answer));
      this.#reading.set(name, { read, stop });
    } catch (error) {
      this.#messages.delete(name);
      this.errors.push(error);
    }
  }

  async #read(name: string, messages: AsyncIterable<StatsMessage>): Promise<void> {
    try {
      for await (const message of messages) {
        if (!this.#messages.has(name)) return;
        this.#messages.set(name, message);
      }
      // The last figures of what has gone are of no use; those that were asked for once are.
      if (this.#stream) this.#messages.delete(name);
    } catch {
      this.#messages.delete(name); // Its stream was broken off, by us or by the daemon's end.
    }
  }

  remove(name: string): void {
    this.#messages.delete(name);
    this.#reading.get(name)?.stop.abort();
    this.#reading.delete(name);
  }

  stop(): void {
    for (const name of [...this.#reading.keys()]) this.remove(name);
  }

  async ended(): Promise<void> {
    await Promise.all([...this.#reading.values()].map(({ read }) => read));
  }

  rows(truncate: boolean): object[] {
    return [...this.#messages].map(([name, message]) => statsRow(name, message, truncate));
  }
}
