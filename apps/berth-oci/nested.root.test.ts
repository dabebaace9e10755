/** The command line of an engine's that has made an ordinary user root of a user namespace, as podman does. */
import assert from "node:assert/strict";
import { chmodSync, chownSync, lchownSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Spec } from "#runtime/spec-types.ts";
import { COUNT, OrdinaryUser, quote, SUBORDINATE, UID } from "./ordinary-user.test-tool.ts";

type FullSpec = Spec & Required<Pick<Spec, "process" | "linux" | "mounts">>;

const lines = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => line.trim().replace(/\s+/g, " "));

let user: OrdinaryUser;
before(() => {
  user = new OrdinaryUser();
});
after(() => user[Symbol.dispose]());

describe("root of a user namespace", () => {
  /** Runs as root in a namespace of the subordinate ids, on mounts that are its own. */
  const nested = (script: string) => {
    const inner = quote(`cd ${user.directory}; oci() { ${user.command} "$@"; }; ${script}`);
    const map = `0 ${SUBORDINATE} ${COUNT}`;
    return user.asRoot(
      [
        "unshare -U -m sleep 100 >/dev/null 2>&1 & pid=$!",
        'until [ "$(readlink /proc/$pid/ns/user)" != "$(readlink /proc/self/ns/user)" ] && [ "$(readlink /proc/$pid/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ]; do sleep 0.05; done',
        `echo ${map} > /proc/$pid/gid_map; echo ${map} > /proc/$pid/uid_map`,
        `nsenter -U -m -t $pid --setuid 0 --setgid 0 sh -c ${inner}; code=$?; kill $pid; exit $code`,
      ].join("\n"),
    );
  };
  const configure = (change: (spec: FullSpec) => void) => {
    const path = join(user.directory, "config.json");
    rmSync(path, { force: true });
    assert.equal(user.asRoot("oci spec").status, 0);
    const spec = JSON.parse(readFileSync(path, "utf8")) as FullSpec;
    spec.process.terminal = false;
    spec.process.oomScoreAdj = -500;
    delete spec.linux.sysctl;
    change(spec);
    writeFileSync(path, JSON.stringify(spec));
  };
  const give = (owner: number) => {
    for (const name of [
      "",
      "run",
      "rootfs",
      ...readdirSync(join(user.directory, "rootfs")).map((part) => `rootfs/${part}`),
    ])
      lchownSync(join(user.directory, name), owner, owner);
  };

  it("runs containers with the devices that it has, and enters them", () => {
    give(SUBORDINATE);
    configure((spec) => {
      spec.process.args = [
        "sh",
        "-c",
        "id -u; cat /proc/self/uid_map; echo x > /dev/null && touch /made && echo made",
      ];
    });
    const ran = nested("oci run one");
    assert.deepEqual([ran.stderr, ...lines(ran.stdout)], ["", "0", `0 ${SUBORDINATE} ${COUNT}`, "made"]);
    configure((spec) => {
      spec.process.args = ["sleep", "1000"];
    });
    const { stdout, stderr } = nested(
      "oci run -d two </dev/null >/dev/null 2>&1; oci exec two id -u; oci exec -u 7 two id -u; oci delete -f two; oci list -q",
    );
    assert.deepEqual([stderr, ...lines(stdout)], ["", "0", "7"]);
    assert.deepEqual(readdirSync(join(user.directory, "run/berth-oci")), [], "its state is its own");
  });

  it("makes further user namespaces of the ids it has", () => {
    give(SUBORDINATE + 100);
    for (const name of ["", "run"]) chownSync(join(user.directory, name), SUBORDINATE, SUBORDINATE);
    chmodSync(user.directory, 0o755);
    configure((spec) => {
      const mappings = [{ containerID: 0, hostID: 100, size: 1000 }];
      spec.linux.namespaces?.push({ type: "user" });
      Object.assign(spec.linux, { uidMappings: mappings, gidMappings: mappings });
      spec.process.args = ["sh", "-c", "id -u; cat /proc/self/uid_map"];
    });
    const { stdout, stderr } = nested("oci run three");
    assert.deepEqual([stderr, ...lines(stdout)], ["", "0", "0 100 1000"]);
  });

  it("is what podman makes of an ordinary user", () => {
    give(UID);
    chmodSync(user.directory, 0o755);
    const runtime = join(user.directory, "oci");
    writeFileSync(runtime, `#!/bin/sh\nexec ${user.command} "$@"\n`, { mode: 0o755 });
    const options = "--log-level=error --cgroup-manager=cgroupfs --events-backend=file --storage-driver=vfs";
    const podman = `podman ${options} --runtime ${runtime}`;
    const root = `--net=host --rootfs ${join(user.directory, "rootfs")}`;
    const { stdout, stderr } = user.asUser(
      [
        `${podman} run --rm ${root} sh -c 'id -u; cat /proc/self/uid_map'`,
        `${podman} run --rm --userns=keep-id ${root} id -u`,
        `${podman} run -d --name four ${root} sleep 1000 >/dev/null`,
        `${podman} exec four id -u; ${podman} exec -u 5 four id -u; ${podman} rm -f -t0 four >/dev/null`,
        // What keeps the user's namespaces for the next command.
        `kill $(cat ${join(user.directory, "run/libpod/tmp/pause.pid")})`,
      ].join("; "),
    );
    const expected = ["0", `0 ${UID} 1`, `1 ${SUBORDINATE} ${COUNT}`, String(UID), "0", "5"];
    assert.deepEqual([stderr, ...lines(stdout)], ["", ...expected]);
  });
});
