/**
 * The network matrix: every kind of network, family of addresses, direction and protocol, by real packets. The cells and
 * what Docker gives in them are in matrix-cells.ts. Needs root, iptables, iproute2 and gcc.
 */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { MATRIX, type Row } from "./matrix-cells.ts";
import { type MatrixEngine, Neighbour, RowPlace } from "./matrix-lab.ts";
import { makePeerEcho } from "./matrix-probes.ts";
import { inLab, runInLab, sh } from "./network-lab.ts";

if (!inLab) {
  test("the network matrix in a laboratory", { skip: process.getuid?.() === 0 ? false : "needs root" }, () =>
    runInLab(import.meta.filename),
  );
} else {
  const directory = mkdtempSync(join(tmpdir(), "berth-matrix-"));
  chmodSync(directory, 0o755);
  let neighbour: Neighbour;
  const engines: MatrixEngine[] = [];
  const places = new Map<Row, RowPlace | Error>();

  before(async () => {
    const program = makePeerEcho(directory);
    neighbour = await Neighbour.join(program);
    sh("iptables -L -n >/dev/null; ip6tables -L -n >/dev/null");
    const plain = await berth({});
    // With IPv6 on its default bridge.
    const dual = await berth({ subnet: 1, flags: ["--ipv6", "--fixed-cidr-v6", "fd78::/64"] });
    await Promise.all(
      MATRIX.map(async (row) => {
        const engine = row.kind === "default bridge" && row.family === "dual" ? dual : plain;
        const place = new RowPlace(row, engine, program);
        const made = place.make().then(
          () => place,
          (error: Error) => error,
        );
        places.set(row, await made);
      }),
    );
  });

  after(async () => {
    for (const engine of engines) await engine.stop();
    await neighbour?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  async function berth(options: { subnet?: number; flags?: string[] }): Promise<MatrixEngine> {
    const daemon = await TestDaemon.start(options);
    const engine = {
      docker: (...args: string[]) => daemon.dockerAsync(...args),
      stop: () => daemon.stop(),
    };
    engines.push(engine);
    daemon.loadBusybox();
    return engine;
  }

  describe("the network matrix", { concurrency: true }, () => {
    for (const row of MATRIX) {
      const name = `${row.kind}, ${row.family}`;
      test(name, async () => {
        const place = places.get(row);
        if (!(place instanceof RowPlace)) throw place;
        const cells = await place.cells(neighbour);
        const wrong = cells.filter(({ seen, expected }) => seen !== expected);
        assert.deepEqual(
          wrong.map(({ name, seen, expected }) => `${name}: ${seen} instead of ${expected}`),
          [],
        );
      });
    }
  });
}
