/**
 * Registries by the real command lines: Debian's registry open, with an account and with TLS under an authority of its
 * own; Debian's dockerd and skopeo as the other side of what is pushed.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { buildImage } from "#images/archive-build.ts";
import { hostPlatform } from "#images/platform.ts";
import { builtBusybox } from "#test/fixtures/busybox-image.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { Dockerd } from "#test/fixtures/peer-engines.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";

/** On the loopback device for a while; an address that no rule calls loopback. */
const ADDRESS = "10.213.200.1";

let daemon: TestDaemon;
let open: TestRegistry;
before(async () => {
  open = await TestRegistry.start();
  daemon = await TestDaemon.start({ subnet: 41 });
  daemon.loadBusybox();
});
after(async () => {
  await daemon.stop();
  await open.stop();
});

function ok(ran: { code: number | null; stdout: string; stderr: string }): string {
  assert.equal(ran.code, 0, ran.stderr + ran.stdout);
  return ran.stdout;
}

const imageId = (name: string) => daemon.docker("image", "inspect", "-f", "{{.Id}}", name).stdout.trim();
const digestIn = (text: string) => /digest: (sha256:[0-9a-f]{64})/i.exec(text)?.[1] ?? "";

/** skopeo's view of a tag: its manifest, and the digest of it. */
function manifest(name: string): {
  digest: string;
  layers: { digest: string }[];
  config: { digest: string };
} {
  const raw = execFileSync("skopeo", ["inspect", "--tls-verify=false", "--raw", `docker://${name}`]);
  const file = join(daemon.directory, "manifest");
  writeFileSync(file, raw);
  const digest = execFileSync("skopeo", ["manifest-digest", file], { encoding: "utf8" });
  return { ...JSON.parse(raw.toString("utf8")), digest: digest.trim() };
}

test("push: what arrives is the image, and the digest told is its own", async () => {
  const name = `${open.host}/team/busybox:one`;
  ok(daemon.docker("tag", "berth/busybox", name));
  const told = ok(await daemon.dockerAsync("push", name));
  assert.match(told, new RegExp(`^The push refers to repository \\[${open.host}/team/busybox\\]\n`));
  assert.match(told, /: Pushed\n/);
  const there = manifest(name);
  assert.equal(digestIn(told), there.digest);
  assert.equal(there.config.digest, imageId(name));
  // Again: everything is there. Elsewhere: taken over.
  assert.match(ok(await daemon.dockerAsync("push", name)), /: Layer already exists\n/);
  const other = `${open.host}/other/place:latest`;
  ok(daemon.docker("tag", name, other));
  const mounted = ok(await daemon.dockerAsync("push", other));
  assert.match(mounted, /: Mounted from team\/busybox\n/);
  assert.equal(digestIn(mounted), there.digest);
  // The image can be had back.
  ok(daemon.docker("rmi", "-f", imageId(name)));
  assert.equal(ok(await daemon.dockerAsync("run", "--rm", other, "echo", "hello")), "hello\n");
  assert.equal(imageId(other), there.config.digest);
  daemon.loadBusybox();
});

test("push -q, push -a and pull -a, by docker and by berth", async () => {
  for (const tag of ["a", "b"]) ok(daemon.docker("tag", "berth/busybox", `${open.host}/many:${tag}`));
  assert.equal(ok(await daemon.dockerAsync("push", "-q", `${open.host}/many:a`)), `${open.host}/many:a\n`);
  const all = ok(await daemon.dockerAsync("push", "-a", `${open.host}/many`));
  assert.deepEqual(
    [...all.matchAll(/^(\w+): digest: /gm)].map(([, tag]) => tag),
    ["a", "b"],
  );
  for (const tag of ["a", "b"]) ok(daemon.docker("rmi", `${open.host}/many:${tag}`));
  // In the registry's order, which is any.
  const pulled = ok(await daemon.dockerAsync("pull", "-a", `${open.host}/many`));
  for (const tag of ["a", "b"]) assert.match(pulled, new RegExp(`^${tag}: Pulling from many$`, "m"));
  assert.match(pulled, new RegExp(`^Status: .* for ${open.host}/many$`, "m"));
  const berth = (...argv: string[]) =>
    spawnSync("bin/berth", ["-H", `unix://${daemon.socket}`, ...argv], {
      encoding: "utf8",
      env: daemon.environment,
    });
  const pushed = berth("push", `${open.host}/many:b`);
  assert.equal(pushed.status, 0, pushed.stderr);
  assert.match(pushed.stdout, /b: digest: sha256:/);
});

test("an account: docker login, push, pull, logout; and without", async () => {
  await using closed = await TestRegistry.start({ account: { name: "me", password: "s3cret" } });
  const name = `${closed.host}/mine:latest`;
  ok(daemon.docker("tag", "berth/busybox", name));
  const refused = await daemon.dockerAsync("push", name);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^no basic auth credentials$/m);
  const logIn = (password: string) =>
    daemon.dockerWith({ input: password }, "login", "-u", "me", "--password-stdin", closed.host);
  const wrong = logIn("wrong-pass");
  assert.equal(wrong.code, 1);
  assert.match(
    wrong.stderr,
    new RegExp(`login attempt to http://${closed.host}/v2/ failed with status: 401 Unauthorized`),
  );
  assert.match(ok(logIn("s3cret")), /Login Succeeded/);
  ok(await daemon.dockerAsync("push", name));
  ok(daemon.docker("rmi", name));
  ok(await daemon.dockerAsync("pull", name));
  ok(daemon.docker("logout", closed.host));
  const pull = await daemon.dockerAsync("pull", name);
  assert.match(
    pull.stderr,
    new RegExp(`Head "http://${closed.host}/v2/mine/manifests/latest": no basic auth credentials`),
  );
  assert.ok(!/s3cret|wrong-pass|bWU6/.test(daemon.log()), "credentials in the log");
});

test("TLS under an authority of its own, as certs.d tells; with a client's certificate", async (t) => {
  execFileSync("ip", ["addr", "replace", `${ADDRESS}/32`, "dev", "lo"]);
  t.after(() => execFileSync("ip", ["addr", "del", `${ADDRESS}/32`, "dev", "lo"]));
  const account = { name: "me", password: "s3cret" };
  await using secure = await TestRegistry.start({
    tls: true,
    clientCertificates: true,
    address: ADDRESS,
    account,
  });
  const name = `${secure.host}/mine:latest`;
  ok(daemon.docker("tag", "berth/busybox", name));
  const unknown = await daemon.dockerAsync("push", name);
  assert.match(unknown.stderr, /x509: certificate signed by unknown authority/);
  assert.match(unknown.stderr, /certs\.d/);
  const directory = `/etc/berth/certs.d/${secure.host}`;
  mkdirSync(directory, { recursive: true });
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  copyFileSync(join(secure.directory, "ca.crt"), join(directory, "ca.crt"));
  assert.match(
    (await daemon.dockerAsync("push", name)).stderr,
    /remote error: tls: (certificate required|bad certificate)$/m,
  );
  for (const file of ["client.cert", "client.key"]) {
    copyFileSync(join(secure.directory, file), join(directory, file));
  }
  ok(daemon.dockerWith({ input: account.password }, "login", "-u", "me", "--password-stdin", secure.host));
  ok(await daemon.dockerAsync("push", name));
  ok(daemon.docker("rmi", name));
  assert.match(ok(await daemon.dockerAsync("pull", name)), /Status: /);
});

test("there and back through Debian's dockerd: the same ids, and digests where layers are the same", async () => {
  await using dockerd = await Dockerd.start();
  const theirs = (...argv: string[]) => {
    const ran = dockerd.docker(argv);
    assert.equal(ran.code, 0, ran.output);
    return ran.output;
  };
  const name = `${open.host}/exchange:ours`;
  ok(daemon.docker("tag", "berth/busybox", name));
  const told = digestIn(ok(await daemon.dockerAsync("push", name)));
  theirs("pull", name);
  const id = imageId(name);
  assert.match(theirs("image", "inspect", "-f", "{{.Id}}", name), new RegExp(id));
  assert.match(theirs("image", "inspect", "-f", "{{.RepoDigests}}", name), new RegExp(told));
  // Pushed by it to another repository: it may take the layers over or compress them again.
  const back = `${open.host}/exchange/back:theirs`;
  theirs("tag", name, back);
  theirs("push", back);
  assert.equal(manifest(back).config.digest, id);
  ok(await daemon.dockerAsync("pull", back));
  assert.equal(imageId(back), id);
  // And the other way round: what dockerd made and compressed.
  const made = `${open.host}/exchange/made:theirs`;
  const archive = join(dockerd.directory, "root.tar");
  execFileSync("tar", ["-cf", archive, "-C", "/usr/share/doc", "libc6"]);
  theirs("import", archive, made);
  const theirDigest = digestIn(theirs("push", made));
  ok(await daemon.dockerAsync("pull", made));
  assert.match(theirs("image", "inspect", "-f", "{{.Id}}", made), new RegExp(imageId(made)));
  const kept = `${open.host}/exchange/kept:ours`;
  ok(daemon.docker("tag", made, kept));
  assert.equal(digestIn(ok(await daemon.dockerAsync("push", kept))), theirDigest);
  // To a registry that has nothing of it the same archives go, if compressed otherwise.
  await using elsewhere = await TestRegistry.start();
  const far = `${elsewhere.host}/made:ours`;
  ok(daemon.docker("tag", made, far));
  ok(await daemon.dockerAsync("push", far));
  theirs("rmi", "-f", imageId(made));
  theirs("pull", far);
  assert.match(theirs("image", "inspect", "-f", "{{.Id}}", far), new RegExp(imageId(made)));
});

test("skopeo reads what is pushed, in Docker's form and in OCI's", async () => {
  for (const format of ["docker", "oci"] as const) {
    const { layers } = await builtBusybox();
    const image = buildImage(layers, { ...hostPlatform(), os: "linux", config: { Labels: { format } } });
    await open.push(`form/${format}`, "latest", image, { format });
    const from = `${open.host}/form/${format}:latest`;
    ok(await daemon.dockerAsync("pull", from));
    await using other = await TestRegistry.start();
    const to = `${other.host}/copy:latest`;
    ok(daemon.docker("tag", from, to));
    ok(await daemon.dockerAsync("push", to));
    const directory = join(daemon.directory, `skopeo-${format}`);
    execFileSync("skopeo", ["copy", "-q", "--src-tls-verify=false", `docker://${to}`, `dir:${directory}`]);
    const copied = JSON.parse(readFileSync(join(directory, "manifest.json"), "utf8"));
    assert.equal(copied.config.digest, imageId(from));
    assert.equal(/oci/.test(copied.mediaType), format === "oci");
    ok(daemon.docker("rmi", from, to));
  }
});
