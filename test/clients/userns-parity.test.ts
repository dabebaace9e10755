/**
 * `--userns-remap` beside Debian's dockerd with the same option: what the docker command line prints and how it ends is the
 * same, but for what is listed with its reason.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { dockerCliMissing } from "#test/clients/docker-cli.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { Dockerd } from "#test/fixtures/peer-engines.ts";
import { PrivateEtc } from "#test/fixtures/private-etc.ts";

const RANGES = "daemon:200000:2000\ndaemon:300000:65536\n";
const FLAGS = ["--userns-remap", "daemon:adm"];

/** `r` runs a container of busybox that goes away; `d` is the client. */
const scripts: Record<string, string> = {
  mappings: "r cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; r id; r -u 1000:5 id -u",
  "owners in the root":
    "r ls -ln / | awk '{print $3, $4, $9}' | grep -v 'dev$'; r stat -c %u:%g /etc/hosts /etc/hostname /etc/resolv.conf /.dockerenv",
  "owners in /dev":
    "r stat -c '%u:%g %a %n' /dev /dev/null /dev/pts /dev/shm /dev/full; r -t sh -c 'stat -c %u:%g $(tty)'",
  "hidden and read-only":
    "r sh -c 'exec 2>&1; touch /proc/sys/x /sys/x; ls /proc/acpi; wc -c </proc/keys'; r --read-only touch /x",
  "privileged, host's network and processes":
    "for o in --privileged --pid=host; do r $o true; r --userns host $o true 2>&1 | grep -v caps; done; d create --network host berth/busybox",
  "the host's names": "r --uts host hostname",
  "userns modes":
    "for m in host private x; do d create --name mm --userns $m berth/busybox; d inspect -f '{{.HostConfig.UsernsMode}}' mm; d rm mm; done",
  "--userns=host":
    "r --userns host sh -c 'tr -s \" \" </proc/self/uid_map; stat -c %u /bin /etc/hosts; touch /x; stat -c %u /x'",
  "a device of the same name":
    "r --device /dev/zero sh -c 'head -c3 /dev/zero | wc -c; stat -c %u /dev/zero'",
  tmpfs:
    "r --tmpfs /t:uid=5,mode=700 stat -c '%u %a' /t; r --shm-size 1m sh -c 'touch /dev/shm/x; stat -c %u /dev/shm/x'",
  volumes:
    "r -v vol:/bin -v $PWD/new/dir:/d sh -c 'touch /d/x; stat -c %u /bin /bin/sh /d /d/x'; stat -c %u:%g new new/dir new/dir/x; d volume rm vol",
  "the host's files":
    "echo host >f; chmod 600 f; r -v $PWD/f:/f sh -c 'stat -c %u:%g /f; cat /f; echo x >/f'; cat f",
  "in, out and export": `d run --name cc --network none berth/busybox sh -c 'touch /own; chown 7:8 /own'; echo x >f; d cp f cc:/etc/f
    d export cc | tar --numeric-owner -tv own etc/f bin/sh | awk '{print $2, $6}'; d diff cc | sort; d commit cc cc:1 >/dev/null; r0 cc:1 stat -c %u:%g /own /etc/f /bin
    mkdir s; d save cc:1 | tar -x -C s; for l in s/*/layer.tar s/blobs/sha256/*; do tar --numeric-owner -tvf $l own 2>/dev/null; done | awk '{print $2}'; d rm cc; d rmi cc:1 >/dev/null`,
  "what was imported":
    "echo x >f; tar --owner 5 --group 6 -c f | d import - ii:1 >/dev/null; d create --name ii ii:1 x; d export ii | tar --numeric-owner -tv f | awk '{print $2}'; d rm ii; d rmi ii:1 >/dev/null",
  sharing:
    "d run -d --name aa --network none --ipc shareable berth/busybox sleep 100; for n in pid ipc network; do d run --rm --$n container:aa berth/busybox sh -c 'id -u; tr -s \" \" </proc/self/uid_map'; done; d exec -u 7 aa sh -c 'id -u; echo x >/dev/stdout'; d top aa -o uid,args; d rm -f aa",
  info: "d info -f '{{json .SecurityOptions}}' | tr , '\\n' | grep userns",
};

function run(script: string, socket: string): string[] {
  const cwd = spawnSync("mktemp", ["-d", "/tmp/berth-userns-XXXXXX"], { encoding: "utf8" }).stdout.trim();
  // The containers' root has to get to what is bound from here.
  const text = `chmod 755 .; d() { docker "$@"; }; r() { o=; while case $1 in -u|-v|--userns|--uts|--device|--tmpfs|--shm-size) o="$o $1 $2"; shift;; -*) o="$o $1";; *) false;; esac; do shift; done; d run --rm --network none $o berth/busybox "$@"; }
r0() { d run --rm --network none "$@"; }
(${script}) 2>&1`;
  try {
    const ran = spawnSync("sh", ["-c", text], {
      cwd,
      encoding: "utf8",
      timeout: 120_000,
      killSignal: "SIGKILL",
      env: {
        ...process.env,
        DOCKER_HOST: `unix://${socket}`,
        DOCKER_CONFIG: cwd,
        DOCKER_API_VERSION: "1.41",
      },
    });
    return (
      ran.stdout
        .replaceAll(cwd, "CWD")
        .replace(/[0-9a-f]{64}/g, "ID")
        .split("\n")
        .filter((line) => line.trim() !== "" && !line.startsWith("Run 'docker"))
        // What a container says on two streams comes in no order.
        .sort()
    );
  } finally {
    spawnSync("rm", ["-rf", cwd]);
  }
}

const skip = process.geteuid?.() !== 0 ? "needs root" : dockerCliMissing();

describe("--userns-remap beside dockerd", { skip }, () => {
  let etc: PrivateEtc[];
  let daemon: TestDaemon;
  let peer: Dockerd;
  before(async () => {
    etc = [1, 2].map(() => new PrivateEtc({ subuid: RANGES, subgid: RANGES }));
    daemon = await TestDaemon.start({ subnet: 90, through: etc[0]?.command ?? [], flags: FLAGS });
    daemon.loadBusybox();
    peer = await Dockerd.start({ network: false, through: etc[1]?.command ?? [], flags: FLAGS });
    peer.docker(["load", "-i", resolve(import.meta.dirname, "../../build/busybox.tar")]);
  });
  after(async () => {
    await daemon?.stop();
    await peer?.[Symbol.asyncDispose]();
    for (const one of etc ?? []) one[Symbol.dispose]();
  });

  for (const [name, script] of Object.entries(scripts)) {
    test(name, () => {
      const [theirs, ours] = [run(script, peer.socket), run(script, daemon.socket)];
      assert.notEqual(theirs.length, 0, "nothing was compared");
      assert.deepEqual(ours, theirs);
    });
  }
});
