import assert from "node:assert/strict";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, before, beforeEach, describe, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { isBerthError } from "#errors/errors.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import { encodeEntry, endOfArchive, paddingFor } from "#storage/tar/tar-writer.ts";
import { tarEntry as entry } from "#storage/testing/tar-entries.ts";
import { mapId } from "#storage/unpack/id-map.ts";
import { prepareThread, type UnpackTask, unpackLayer } from "#storage/unpack/unpack-layer.ts";
import { checkLimits, ratioFrom } from "#storage/unpack/unpack-limits.ts";

const archiveOf = (...entries: TarEntry[]): Buffer =>
  Buffer.concat([
    ...entries.flatMap((one) => [encodeEntry(one), Buffer.alloc(one.size), paddingFor(one.size)]),
    endOfArchive,
  ]);

test("a ratio counts only for what is large", () => {
  checkLimits({ size: 0, ratio: 10 }, 1, ratioFrom);
  assert.throws(() => checkLimits({ size: 0, ratio: 10 }, 1, ratioFrom + 1), {
    code: "too-large",
    message: "layer unpacks to more than 10 times its size",
  });
  checkLimits({ size: 0, ratio: 10 }, ratioFrom, 2 * ratioFrom);
  checkLimits({ size: 0, ratio: 0 }, 1, 1e15);
});

test("ids are mapped by ranges; one without is refused", () => {
  const ranges = [
    { inside: 0, outside: 100_000, count: 10 },
    { inside: 1000, outside: 5, count: 1 },
  ];
  assert.deepEqual(
    [0, 9, 1000].map((id) => mapId(ranges, id)),
    [100_000, 100_009, 5],
  );
  assert.throws(() => mapId(ranges, 10), { message: "Container ID 10 cannot be mapped to a host ID" });
});

describe("what a layer may be", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  let base: string;
  let target: string;
  before(prepareThread);
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "berth-limits-"));
    target = join(base, "target");
    mkdirSync(target);
  });
  afterEach(() => rmSync(base, { recursive: true }));
  const unpack = (archive: Buffer, options: Partial<UnpackTask> = {}) => {
    writeFileSync(join(base, "layer"), archive);
    return unpackLayer({ source: join(base, "layer"), target, whiteouts: "overlay", ...options });
  };

  for (const [what, compress] of [
    ["gzip", gzipSync],
    ["zstd", zstdCompressSync],
  ] as const) {
    test(`a ${what} bomb is stopped at the limit`, async () => {
      const bomb = compress(archiveOf(entry({ name: "zeros", size: 64 << 20 })));
      await assert.rejects(
        unpack(bomb, { limits: { size: 8 << 20, ratio: 0 } }),
        (error) => isBerthError(error, "too-large") && /--max-layer-size/.test(error.hint ?? ""),
      );
      // Not much later than at the limit.
      assert.ok(lstatSync(join(target, "zeros")).size <= 12 << 20);
      rmSync(join(target, "zeros"));
      assert.equal((await unpack(bomb)).size, 64 << 20);
    });
  }

  test("owners inside a user namespace become the host's, those of implied directories too", async () => {
    const idMap = {
      uids: [{ inside: 0, outside: 200_000, count: 65_536 }],
      gids: [{ inside: 0, outside: 300_000, count: 65_536 }],
    };
    const archive = archiveOf(
      entry({ name: "d/implied/file", uid: 1000, gid: 50 }),
      entry({ name: "root" }),
      entry({ name: "link", type: "symlink", linkName: "x", uid: 1 }),
      entry({ name: "sub", type: "directory", mode: 0o755, uid: 7, gid: 8 }),
      entry({ name: "sub/.wh.hidden" }),
      entry({ name: "setuid", mode: 0o4755 }),
    );
    await unpack(archive, { idMap });
    const owner = (path: string) => {
      const { uid, gid } = lstatSync(join(target, path));
      return `${uid}:${gid}`;
    };
    assert.equal(owner("d/implied/file"), "201000:300050");
    assert.equal(owner("d"), "200000:300000");
    assert.equal(owner("root"), "200000:300000");
    assert.equal(owner("link"), "200001:300000");
    assert.equal(owner("sub"), "200007:300008");
    assert.equal(owner("sub/hidden"), "200000:300000");
    assert.equal(lstatSync(join(target, "setuid")).mode & 0o7777, 0o4755);
    await assert.rejects(unpack(archiveOf(entry({ name: "beyond", uid: 70_000 })), { idMap }), {
      message: "Container ID 70000 cannot be mapped to a host ID",
    });
    assert.ok(!existsSync(join(target, "beyond")));
  });

  test("a sparse file longer than files can be is the archive's fault", async () => {
    const huge = entry({ name: "huge", size: 2 ** 52, sparse: [] });
    await assert.rejects(unpack(Buffer.concat([encodeEntry(huge), endOfArchive])), (error) =>
      isBerthError(error, "invalid"),
    );
  });
});
