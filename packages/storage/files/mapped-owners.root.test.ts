/** Files of containers in a user namespace: on the disk with the host's owners, in archives with those inside. */
import assert from "node:assert/strict";
import {
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { makePipe } from "#kernel/pipes.ts";
import { read, writeAll } from "#kernel/syscalls.ts";
import { ContainerFiles } from "#storage/files/container-files.ts";
import type { RootRequest } from "#storage/files/root-types.ts";
import { packTree } from "#storage/pack/pack-tree.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import { TarReader } from "#storage/tar/tar-reader.ts";
import { type IdMap, ownerInside } from "#storage/unpack/id-map.ts";

const idMap: IdMap = {
  uids: [
    { inside: 0, outside: 200_000, count: 10 },
    { inside: 10, outside: 400_000, count: 10 },
  ],
  gids: [{ inside: 0, outside: 300_000, count: 20 }],
};

/** "uid:gid" by name. */
function ownersIn(archive: Iterable<Buffer>): Record<string, string> {
  const found: Record<string, string> = {};
  const entry = ({ name, uid, gid }: TarEntry) => {
    found[name] = `${uid}:${gid}`;
  };
  const reader = new TarReader({ entry, data: () => {}, end: () => {} });
  for (const bytes of archive) reader.write(bytes);
  reader.finish();
  return found;
}

describe("mapped owners", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  let directory: string;
  let root: string;
  let files: ContainerFiles;
  const request = (): RootRequest => ({
    rootfs: { kind: "directory", path: root },
    readOnly: false,
    mounts: [],
  });
  const owner = (name: string) => {
    const { uid, gid } = statSync(join(root, name));
    return `${uid}:${gid}`;
  };

  before(() => {
    directory = mkdtempSync(join(tmpdir(), "berth-owners-"));
    root = join(directory, "root");
    mkdirSync(root);
    writeFileSync(join(root, "first"), "");
    chownSync(join(root, "first"), 200_007, 300_008);
    symlinkSync("first", join(root, "second"));
    lchownSync(join(root, "second"), 400_001, 300_011);
    writeFileSync(join(root, "nobody"), "");
    files = new ContainerFiles(idMap);
  });
  after(async () => {
    await files[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });

  it("go out as they are inside, those of nobody as nobody's", async () => {
    const { read: from, write: to } = makePipe();
    using source = from;
    using sink = to;
    using found = await files.open(request(), "/");
    await found?.pack("inside", { fd: sink.number, framing: "plain" }, new AbortController().signal);
    sink.close();
    const chunks: Buffer[] = [];
    for (let buffer = Buffer.alloc(65_536); ; buffer = Buffer.alloc(65_536)) {
      const length = read(source.number, buffer);
      if (length === 0) break;
      chunks.push(buffer.subarray(0, length));
    }
    assert.deepEqual(ownersIn(chunks), { first: "7:8", second: "11:11", nobody: "65534:65534" });
  });

  const extract = async (
    archive: Iterable<Buffer>,
    options: { owner?: { uid: number; gid: number } } = {},
  ) => {
    const { read: from, write: to } = makePipe();
    using source = from;
    for (const bytes of archive) writeAll(to.number, bytes);
    to.close();
    const signal = new AbortController().signal;
    const { owner: given } = options;
    await files.extract(request(), "/", source, { keepKinds: false, owner: given }, signal);
  };
  /** One file, with an owner that `uid` of the host stands for. */
  function* one(name: string, owner: { uid: number; gid: number }): Generator<Buffer> {
    const place = mkdtempSync(join(directory, "one-"));
    mkdirSync(join(place, "made"));
    writeFileSync(join(place, "made", name), "");
    yield* packTree(place, { ownerFor: () => owner });
  }

  it("come in as the host's", async () => {
    await extract(one("new", { uid: 12, gid: 3 }));
    assert.equal(owner("made/new"), "400002:300003");
    await extract(one("given", { uid: 0, gid: 0 }), { owner: { uid: 5, gid: 6 } });
    assert.equal(owner("made/given"), "200005:300006");
  });

  it("are refused where nobody is mapped", async () => {
    await assert.rejects(extract(one("beyond", { uid: 20, gid: 0 })), {
      code: "invalid",
      message: "Container ID 20 cannot be mapped to a host ID",
    });
  });

  it("of a commit are refused where they are nobody's, and the same again otherwise", async () => {
    const target = join(directory, "target");
    const comparison = { directory: root, lower: [], whiteouts: "overlay" as const };
    const commit = () => {
      rmSync(target, { recursive: true, force: true });
      mkdirSync(target);
      return files.commit(comparison, { target, whiteouts: "overlay" });
    };
    await assert.rejects(commit(), {
      code: "conflict",
      message: "Host ID 0 cannot be mapped to a container ID",
    });
    rmSync(join(root, "nobody"));
    rmSync(join(root, "made"), { recursive: true, force: true });
    await commit();
    const { uid, gid } = statSync(join(target, "first"));
    assert.deepEqual([uid, gid], [200_007, 300_008]);
    const inside = ownersIn(packTree(target, { ownerFor: (owner) => ownerInside(idMap, owner) }));
    assert.deepEqual(inside, { first: "7:8", second: "11:11" });
  });
});
