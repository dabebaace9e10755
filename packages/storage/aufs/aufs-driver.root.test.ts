import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { BerthError, isBerthError } from "#errors/errors.ts";
import { readMountInfo } from "#kernel/mountinfo.ts";
import { createAufsDriver } from "#storage/aufs/aufs-driver.ts";
import { LayerStack } from "#storage/layered-lookup.ts";
import type { UnionListed, UnionMount, Unions } from "#storage/union/union-types.ts";
import { testStorageDriver } from "#test/contracts/storage-driver.ts";
import { endUnionPrograms } from "#test/fixtures/union-programs.ts";

const program = join(import.meta.dirname, "../../../apps/berth-union/main.ts");
const withoutFuse =
  (!existsSync("/dev/fuse") && "needs /dev/fuse") ||
  (!existsSync(program) && "needs the program that serves unions");

/** Of one program for all drivers here. */
const sockets = mkdtempSync(join(tmpdir(), "berth-aufs-socket-"));
const unionSocket = join(sockets, "union.sock");
after(() => {
  endUnionPrograms(sockets);
  rmSync(sockets, { recursive: true, force: true });
});

testStorageDriver(
  {
    name: "aufs",
    open: async (dataRoot) => createAufsDriver({ dataRoot, unionSocket }),
    // The union's own test does the many.
    randomOperations: 10_000,
  },
  withoutFuse,
);

const id = (letter: string) => letter.repeat(64);

async function withDataRoot(use: (dataRoot: string, home: string) => Promise<void>): Promise<void> {
  const dataRoot = mkdtempSync(join(tmpdir(), "berth-aufs-"));
  try {
    await use(dataRoot, join(dataRoot, "aufs"));
  } finally {
    rmSync(dataRoot, { recursive: true, force: true });
  }
}

/** Mounts nothing, and knows what it should have. */
class NotedUnions implements Unions {
  readonly orders: string[] = [];
  readonly mounted = new Map<string, UnionMount>();
  /** The next order fails with this. */
  failure: Error | undefined;

  async mount(union: UnionMount): Promise<void> {
    await this.#note("mount", union.mountPoint);
    this.mounted.set(union.mountPoint, union);
  }

  async unmount(mountPoint: string): Promise<void> {
    await this.#note("unmount", mountPoint);
    this.mounted.delete(mountPoint);
  }

  async list(): Promise<UnionListed[]> {
    return [...this.mounted.values()].map((union) => ({ ...union, nodes: 1 }));
  }

  close(): void {}

  async #note(what: string, mountPoint: string): Promise<void> {
    this.orders.push(`${what} ${mountPoint.slice(-1)}`);
    await Promise.resolve();
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
  }
}

const skip = process.geteuid?.() === 0 ? withoutFuse : "needs root";

describe("aufs on disk", { skip }, () => {
  test("the layout is Docker's", () =>
    withDataRoot(async (dataRoot, home) => {
      const driver = createAufsDriver({ dataRoot, unionSocket });
      await driver.create(id("a"), undefined);
      await driver.create(id("b"), id("a"));
      await driver.createWritable(id("c"), id("b"), {});
      const layers = [id("a"), id("b"), id("c"), `${id("c")}-init`];
      for (const part of ["diff", "layers", "mnt"]) {
        assert.deepEqual(readdirSync(join(home, part)).sort(), layers, part);
      }
      const list = (layer: string) => readFileSync(join(home, "layers", layer), "utf8");
      assert.equal(list(id("a")), "");
      assert.equal(list(id("b")), `${id("a")}\n`);
      assert.equal(list(id("c")), `${id("c")}-init\n${id("b")}\n${id("a")}\n`);
      assert.equal(statSync(home).mode & 0o777, 0o710);
      assert.equal(statSync(join(home, "diff", id("a"))).mode & 0o777, 0o755);
      assert.deepEqual(await driver.rootfs(id("c")), {
        kind: "directory",
        path: join(home, "mnt", id("c")),
      });
      assert.equal(await driver.metadata(), null);
      const status = new Map(await driver.status());
      assert.deepEqual([...status.keys()], ["Root Dir", "Backing Filesystem", "Dirs", "Dirperm1 Supported"]);
      assert.deepEqual([status.get("Root Dir"), status.get("Dirs")], [home, "4"]);
      for (const layer of "cba") await driver.remove(id(layer));
      await driver.close();
      assert.equal(execFileSync("find", [home, "-mindepth", "2"], { encoding: "utf8" }), "");
    }));

  test("what a crash left half-made does not count, and goes", () =>
    withDataRoot(async (dataRoot, home) => {
      const first = createAufsDriver({ dataRoot, unionSocket });
      await first.create(id("a"), undefined);
      await first.close();
      mkdirSync(join(home, "diff", `.new-${id("b")}`, "deep"), { recursive: true });
      mkdirSync(join(home, "diff", ".gone-1234", "deep"), { recursive: true });
      mkdirSync(join(home, "diff", ".stage-1234", "deep"), { recursive: true });
      mkdirSync(join(home, "layouts", ".stage-1234", "deep"), { recursive: true });
      mkdirSync(join(home, "layouts", id("d")));
      mkdirSync(join(home, "mnt", id("b")));
      writeFileSync(join(home, "layers", id("b")), id("a"));
      const driver = createAufsDriver({ dataRoot, unionSocket });
      assert.equal(await driver.exists(id("b")), false);
      await assert.rejects(driver.rootfs(id("b")), (error) => isBerthError(error, "not-found"));
      await driver.reconcile(new Set([id("a"), id("b")]));
      await driver.settled();
      const left = execFileSync("find", [home, "-mindepth", "2", "-printf", "%P\n"], { encoding: "utf8" });
      assert.deepEqual(
        left.trim().split("\n").sort(),
        ["a", "a", "a"].map((l, i) => `${["diff", "layers", "mnt"][i]}/${id(l)}`),
      );
      await driver.close();
    }));

  test("layers can be stacked 128 deep, and no deeper", () =>
    withDataRoot(async (dataRoot) => {
      const driver = createAufsDriver({ dataRoot, unionSocket });
      let parent: string | undefined;
      for (let depth = 0; depth <= 128; depth++) {
        await driver.create(`layer-${depth}`, parent);
        parent = `layer-${depth}`;
      }
      await assert.rejects(driver.create("too-deep", parent), (error) => isBerthError(error, "invalid"));
      assert.equal((await driver.layerDirectories("layer-128")).length, 129);
      await driver.close();
    }));

  test("a layer below that vanished is named, and nothing of the others is lost", () =>
    withDataRoot(async (dataRoot, home) => {
      const driver = createAufsDriver({ dataRoot, unions: new NotedUnions() });
      await driver.create(id("a"), undefined);
      await driver.create(id("b"), id("a"));
      await driver.createWritable(id("c"), id("b"), {});
      writeFileSync(join(driver.diffPath(id("c")), "kept"), "precious");
      rmSync(join(home, "diff", id("a")), { recursive: true });
      const named = (error: unknown) =>
        isBerthError(error, "internal") && error.message.includes(`layer ${id("a")}, which`);
      await assert.rejects(driver.hold(id("c"), "root"), named);
      await assert.rejects(driver.layerDirectories(id("c")), named);
      await assert.rejects(driver.comparison(id("c")), named);
      await assert.rejects(driver.createWritable(id("d"), id("b"), {}), named);
      assert.equal(await driver.exists(id("d")), false);
      assert.equal(readFileSync(join(driver.diffPath(id("c")), "kept"), "utf8"), "precious");
      for (const layer of "cb") await driver.remove(id(layer));
      await driver.close();
    }));

  test("a damaged list of layers is told, not followed", () =>
    withDataRoot(async (dataRoot, home) => {
      const first = createAufsDriver({ dataRoot, unionSocket });
      await first.create(id("a"), undefined);
      await first.createWritable(id("c"), id("a"), {});
      await first.close();
      for (const text of ["", "../../etc\n", `${id("c")}-init\n/etc\n`, `${id("a")}\n`]) {
        writeFileSync(join(home, "layers", id("c")), text);
        const driver = createAufsDriver({ dataRoot, unionSocket });
        const told = (error: unknown) =>
          isBerthError(error, "internal") && error.message.includes(`below ${id("c")} is damaged`);
        await assert.rejects(driver.rootfs(id("c")), told, JSON.stringify(text));
        await driver.close();
      }
      const driver = createAufsDriver({ dataRoot, unionSocket });
      await driver.remove(id("c"));
      await driver.close();
      assert.equal(existsSync(join(home, "layers", id("c"))), false);
    }));

  test("a staged layer becomes one, with the looks of the one below", () =>
    withDataRoot(async (dataRoot) => {
      const driver = createAufsDriver({ dataRoot, unionSocket });
      await driver.create(id("a"), undefined);
      execFileSync("chmod", ["1751", driver.diffPath(id("a"))]);
      const { key, target, layout } = await driver.stage();
      writeFileSync(join(target, "file"), "staged");
      mkdirSync(layout);
      await driver.create(id("b"), id("a"));
      await driver.adopt(id("b"), key, { describesRoot: false });
      await driver.unstage(key);
      await driver.settled();
      assert.equal(readFileSync(join(driver.diffPath(id("b")), "file"), "utf8"), "staged");
      assert.equal(statSync(driver.diffPath(id("b"))).mode & 0o7777, 0o1751);
      assert.ok(existsSync(driver.layoutPath(id("b"))) && !existsSync(target) && !existsSync(layout));
      await assert.rejects(driver.unstage("../x"), (error) => isBerthError(error, "internal"));
      await driver.close();
    }));

  test("options and sizes are refused as Docker does", () =>
    withDataRoot(async (dataRoot) => {
      assert.throws(() => createAufsDriver({ dataRoot, options: ["aufs.x=1"] }), {
        message: "error initializing graphdriver: Unknown option aufs.x",
      });
      const driver = createAufsDriver({ dataRoot, unionSocket });
      assert.equal(driver.sizeLimit({}), undefined);
      const message = "--storage-opt is not supported for aufs";
      assert.throws(() => driver.sizeLimit({ size: "1G" }), { message });
      assert.throws(() => driver.sizeLimit({ speed: "1" }), { message: "Unknown option speed" });
      await driver.close();
    }));
});

describe("roots that are held", { skip }, () => {
  const withUnions = (
    use: (parts: { unions: NotedUnions; driver: ReturnType<typeof createAufsDriver> }) => Promise<void>,
  ) =>
    withDataRoot(async (dataRoot) => {
      const unions = new NotedUnions();
      const driver = createAufsDriver({ dataRoot, unions });
      await driver.create(id("a"), undefined);
      await driver.create(id("b"), id("a"));
      await driver.createWritable(id("c"), id("b"), {});
      await use({ unions, driver });
      await driver.close();
    });

  test("mounted for the first, taken away after the last", () =>
    withUnions(async ({ unions, driver }) => {
      const first = await driver.hold(id("c"), "root");
      const second = await driver.hold(id("c"), "root");
      const content = await driver.hold(id("c"), "content");
      const [union] = unions.mounted.values();
      assert.deepEqual(
        union?.branches.map(({ path, writable }) => [path.split("/").at(-1), writable]),
        [
          [id("c"), true],
          [`${id("c")}-init`, false],
          [id("b"), false],
          [id("a"), false],
        ],
      );
      await first[Symbol.asyncDispose]();
      await first[Symbol.asyncDispose]();
      assert.equal(unions.mounted.size, 1);
      await content[Symbol.asyncDispose]();
      await second[Symbol.asyncDispose]();
      assert.equal(unions.mounted.size, 0);
      assert.deepEqual(unions.orders, ["mount c", "mount c", "unmount c"]);
    }));

  test("an image's root is only read", () =>
    withUnions(async ({ unions, driver }) => {
      await using _held = await driver.hold(id("b"), "root");
      const [union] = unions.mounted.values();
      assert.deepEqual(
        union?.branches.map(({ writable }) => writable),
        [false, false],
      );
    }));

  test("given back and held at once, it is mounted in the end", () =>
    withUnions(async ({ unions, driver }) => {
      const held = await driver.hold(id("c"), "root");
      const [, again] = await Promise.all([held[Symbol.asyncDispose](), driver.hold(id("c"), "root")]);
      assert.equal(unions.mounted.size, 1);
      await again[Symbol.asyncDispose]();
      assert.equal(unions.mounted.size, 0);
    }));

  test("what cannot be mounted is not held, and can be tried again", () =>
    withUnions(async ({ unions, driver }) => {
      unions.failure = new BerthError("conflict", "no such luck", { operation: "mount union" });
      await assert.rejects(driver.hold(id("c"), "root"), { message: "no such luck" });
      await using _held = await driver.hold(id("c"), "root");
      assert.equal(unions.mounted.size, 1);
    }));

  test("a program that ends while it is asked is asked again", () =>
    withUnions(async ({ unions, driver }) => {
      unions.failure = new Error("it has ended");
      await using _held = await driver.hold(id("c"), "root");
      assert.deepEqual(unions.orders, ["mount c", "mount c"]);
    }));

  test("what cannot be taken away stops nobody", () =>
    withUnions(async ({ unions, driver }) => {
      const held = await driver.hold(id("c"), "root");
      unions.failure = new Error("busy");
      await held[Symbol.asyncDispose]();
      await driver.releaseUnheld();
      assert.equal(unions.mounted.size, 0);
    }));

  test("what could not be taken away goes once the program obeys again", () =>
    withUnions(async ({ unions, driver }) => {
      const held = await driver.hold(id("c"), "root");
      unions.failure = new BerthError("unavailable", "silent", { operation: "unmount union" });
      await held[Symbol.asyncDispose]();
      assert.equal(unions.mounted.size, 1);
      const other = await driver.hold(id("b"), "root");
      assert.deepEqual(unions.orders, ["mount c", "unmount c", "mount b", "unmount c"]);
      // Nor is it taken away from who holds it again.
      unions.failure = new BerthError("unavailable", "silent", { operation: "unmount union" });
      await other[Symbol.asyncDispose]();
      const again = await driver.hold(id("b"), "root");
      assert.equal(unions.mounted.size, 1);
      await again[Symbol.asyncDispose]();
      assert.equal(unions.mounted.size, 0);
    }));

  test("after a restart, what somebody holds again stays and the rest goes", () =>
    withUnions(async ({ unions, driver }) => {
      await driver.createWritable(id("d"), id("b"), {});
      for (const layer of "cd") await driver.hold(id(layer), "root");
      const other = { mountPoint: "/elsewhere/aufs/mnt/x", branches: [] };
      await unions.mount(other);
      const root = await driver.rootfs(id("c"));
      assert.ok(root.kind === "directory");
      const next = createAufsDriver({ dataRoot: join(root.path, "../../.."), unions });
      await next.hold(id("c"), "root");
      await next.releaseUnheld();
      assert.deepEqual([...unions.mounted.keys()], [root.path, other.mountPoint]);
      await next.remove(id("c"));
      await next.close();
    }));

  test("what is held while the rest goes stays", () =>
    withUnions(async ({ unions, driver }) => {
      await driver.createWritable(id("d"), id("b"), {});
      for (const layer of "dc") await driver.hold(id(layer), "root");
      const root = await driver.rootfs(id("c"));
      assert.ok(root.kind === "directory");
      const next = createAufsDriver({ dataRoot: join(root.path, "../../.."), unions });
      const { promise: gate, resolve: open } = Promise.withResolvers<void>();
      const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
      const unmount = unions.unmount.bind(unions);
      // The first is d's.
      unions.unmount = async (mountPoint) => {
        reach();
        await gate;
        await unmount(mountPoint);
      };
      const released = next.releaseUnheld();
      await reached;
      const holding = next.hold(id("c"), "root");
      await turn();
      open();
      await Promise.all([released, holding]);
      assert.deepEqual([...unions.mounted.keys()], [root.path]);
      await next.close();
    }));

  test("one that is held while it goes is mounted in the end", () =>
    withUnions(async ({ unions, driver }) => {
      await driver.hold(id("c"), "root");
      const root = await driver.rootfs(id("c"));
      assert.ok(root.kind === "directory");
      const next = createAufsDriver({ dataRoot: join(root.path, "../../.."), unions });
      const unmount = unions.unmount.bind(unions);
      let holding: Promise<AsyncDisposable> | undefined;
      unions.unmount = async (mountPoint) => {
        holding ??= next.hold(id("c"), "root");
        await turn();
        await unmount(mountPoint);
      };
      await next.releaseUnheld();
      const held = await holding;
      assert.deepEqual([...unions.mounted.keys()], [root.path]);
      await held?.[Symbol.asyncDispose]();
      assert.equal(unions.mounted.size, 0);
      await next.close();
    }));

  test("a mount that nobody serves is taken away with its layer, and by the next start", () =>
    withUnions(async ({ driver }) => {
      const root = await driver.rootfs(id("c"));
      assert.ok(root.kind === "directory");
      const { path } = root;
      const mounted = () => readMountInfo().some(({ mountPoint }) => mountPoint === path);
      const mountSome = () => execFileSync("mount", ["-t", "tmpfs", "left-over", path]);
      mountSome();
      mountSome();
      await driver.releaseUnheld();
      assert.equal(mounted(), false);
      mountSome();
      await driver.remove(id("c"));
      assert.equal(mounted(), false);
      assert.equal(existsSync(path), false);
    }));
});

describe("layers through a union that is mounted", { skip }, () => {
  test("a file in its layer, one copied up, one deleted, a directory made anew", () =>
    withDataRoot(async (dataRoot) => {
      const driver = createAufsDriver({ dataRoot, unionSocket });
      await driver.create(id("a"), undefined);
      const image = driver.diffPath(id("a"));
      execFileSync(
        "sh",
        ["-ec", "mkdir etc home; echo one >etc/passwd; echo two >etc/group; echo x >home/old"],
        {
          cwd: image,
        },
      );
      await driver.createWritable(id("c"), id("a"), {});
      {
        await using _held = await driver.hold(id("c"), "root");
        const root = await driver.rootfs(id("c"));
        assert.ok(root.kind === "directory");
        const script =
          "echo new >made; echo more >>etc/passwd; rm etc/group; rm -r home; mkdir home; echo y >home/new; ls -a . etc home";
        const seen = execFileSync("sh", ["-ec", script], { cwd: root.path, encoding: "utf8" });
        assert.doesNotMatch(seen, /\.wh\./);
      }
      const own = driver.diffPath(id("c"));
      assert.equal(readFileSync(join(own, "made"), "utf8"), "new\n");
      assert.equal(readFileSync(join(own, "etc/passwd"), "utf8"), "one\nmore\n");
      assert.equal(readFileSync(join(image, "etc/passwd"), "utf8"), "one\n");
      const whiteout = statSync(join(own, "etc/.wh.group"));
      assert.ok(whiteout.isFile() && whiteout.size === 0);
      assert.equal(readFileSync(join(image, "etc/group"), "utf8"), "two\n");
      assert.ok(statSync(join(own, "home/.wh..wh..opq")).isFile());
      using stack = new LayerStack(await driver.layerDirectories(id("c")), "aufs");
      assert.equal(stack.stat("home/old"), undefined);
      assert.equal(stack.stat("etc/group"), undefined);
      assert.equal(stack.readFile("home/new", 10)?.toString(), "y\n");
      await driver.close();
    }));
});
