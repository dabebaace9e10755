/**
 * Files of containers: what docker's command line says and does against Debian's dockerd, it says and does against Berth, with
 * both of Berth's storage drivers, and so does Berth's own command line.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { dockerCliMissing } from "#test/clients/docker-cli.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { Dockerd } from "#test/fixtures/peer-engines.ts";

const root = resolve(import.meta.dirname, "../..");

/** Files of this machine that are copied from; made anew for every script. */
const local = `
mkdir -p dir/sub empty target
echo file > file; echo sub > dir/sub/f; echo exec > dir/exec; chmod 4755 dir/exec
ln -s file link; ln -s dir dirlink; ln -s /nowhere dangling; ln -s sub/f dir/inner
printf old > target/file; chown 1000:1001 file
`;

/** Containers every script finds: r runs, s never ran, e has ended, ro may not be written to. */
const containers = `
d run -d --name r --network none -v vol:/vol -v $PWD:/bind:ro --tmpfs /tmpfs berth/busybox sh -c \
  'mkdir -p /data/sub; echo one >/data/one; ln -s one /data/link; ln -s /data /dlink; ln -s nowhere /data/broken;
   echo deep >/data/sub/deep; echo in >/vol/in; touch /ready; exec sleep 1000'
d create --name s --network none -v vol:/vol berth/busybox sh
d create --name ro --network none --read-only -v vol:/vol -v vol:/volro:ro berth/busybox sh
d run --name e --network none berth/busybox sh -c \
  'mkdir /new /new/dir; echo a >/new/a; ln /new/a /new/b; rm /bin/cat; echo x >>/etc/group; mkfifo /new/fifo;
   rm -r /home; echo file >/home; chmod 700 /root; ln -s a /new/l; touch /tmp'
while ! d exec r ls /ready; do :; done
`;

/** How a tree of this machine looks. */
const tree = "find . -mindepth 1 -printf '%y %m %U:%G %p %l\\n' | sort";
const listing = "tar --numeric-owner -tv | sed -E 's/[0-9-]{10} [0-9:]{5}/TIME/; s/ +/ /g'";

const scripts: Record<string, string> = {
  "diff of what ended, runs and never ran":
    "d diff e | sort; echo; d diff r | sort; echo; d diff s; d diff nope",
  "out: a file to a name, into a directory, over a file": `
    d cp r:/data/one here; d cp r:/data/one target; d cp r:/data/one target/file; cat target/file; ${tree}`,
  "out: to what isn't there": `
    d cp r:/data/one no/such; d cp r:/data/one nowhere/; d cp r:/data/sub new; d cp r:/data/sub/. new2; ${tree}`,
  "out: a directory into one, and its content": `
    d cp r:/data target; d cp r:/data/. empty; d cp r:/data/ empty; ${tree}`,
  "out: a directory over a file": "d cp r:/data file",
  "out: links": `
    d cp r:/data/link .; d cp -L r:/data/link followed; d cp r:/dlink d1; d cp -L r:/dlink d2; d cp r:/dlink/. d3
    d cp r:/data/broken b1; d cp -L r:/data/broken b2; ${tree}`,
  "out: volumes, binds, stopped ones": `
    d cp r:/vol v1; d cp s:/vol v2; d cp s:/vol/in v3; d cp r:/bind/file b; cat v1/in v2/in v3 b; ${tree}`,
  "out: what isn't there": "d cp r:/nope .; d cp r:/data/one/x .; d cp nope:/x .; d cp r:/etc/mtab/x .",
  "out: as an archive": `
    d cp r:/data - | ${listing}; d cp r:/data/. - | ${listing}; d cp r:/data/link - | ${listing}
    d cp e:/new - | ${listing}; d cp r:/data/one - | tar -xO`,
  "in: a file to a name, into a directory, over a file": `
    d cp file r:/data/two; d cp file r:/data; d cp file r:/data/one; d cp file r:/data/sub/; d cp file r:/tmp
    d exec r sh -c 'ls -ln /data /data/sub | sed "s/ [A-Z][a-z][a-z] .*:.. / /"; cat /data/one'`,
  "in: a directory": `
    d cp dir r:/data; d cp dir r:/data/named; d cp dir/. r:/data/sub; d cp empty r:/data/none
    d exec r find /data | sort; d exec r ls -l /data/dir/exec | cut -c1-10`,
  "in: to what isn't there": `
    d cp file r:/no/such; d cp file r:/nowhere/; d cp dir r:/no/such; d cp nofile r:/; d cp dir r:/data/one`,
  "in: links": `
    d cp link r:/data/l1; d cp -L link r:/data/l2; d cp dirlink r:/data/d1; d cp -L dirlink r:/data/d2
    d cp dangling r:/data/broken2; d cp file r:/dlink; d cp file r:/data/link
    d exec r sh -c 'cd /data; ls -l | sed "s/.* //"; cat l2 one; ls d2'`,
  "in: stopped containers and volumes": `
    d cp file s:/vol/new; d cp file s:/etc/new; d cp dir s:/; d exec r cat /vol/new; d cp s:/etc/new - | tar -xO
    d diff s | sort`,
  "in: read-only": `
    d cp file ro:/etc; d cp file ro:/vol/ok; d cp file ro:/volro; d cp file r:/bind/x; d exec r cat /vol/ok`,
  "in: kinds that don't fit": `
    d exec r sh -c 'mkdir /data/file; echo >/data/dir'; d cp file r:/data; d cp dir r:/data; d exec r ls -l /data/file`,
  "in: an archive": `
    tar -c dir file | d cp - r:/data; tar -cz link | d cp - r:/data; d exec r find /data | sort
    tar -c file | d cp - r:/data/one; tar -c file | d cp - r:/nope`,
  "in: the container's own owner": `
    d run -d --name u --network none -u 5:6 berth/busybox sleep 1000 >u.id; d cp file u:/tmp/plain; d cp -a file u:/tmp/own
    d exec u ls -ln /tmp | awk '{print $3, $4, $9}'`,
  "wrong arguments": "d cp r:/x s:/y; d cp a b; d cp '' r:/; d cp r:/x ''",
  "export, and back": `
    d export e | ${listing} | grep -v ' bin/'; d export r | ${listing} | grep -v ' bin/'; d export nope
    d export e | d import -m why -c 'CMD ["/bin/sh"]' - again:1; d history --format '{{.Size}} {{.Comment}}' again:1
    d inspect -f '{{json .Config.Cmd}} {{.Architecture}}' again:1; d run --rm --network none again:1 ls /new`,
  "import of nothing, of junk, and from an address": `
    printf '' | d import - empty:1; d history --format '{{.Size}} {{.Comment}}' empty:1; gzip -c file | d import - || echo failed
    d import http://127.0.0.1:1/x; d import nofile`,
  commit: `
    d commit -m why -a me e made:1; d history --format '{{.CreatedBy}}|{{.Size}}|{{.Comment}}' made:1
    d inspect -f '{{.Comment}} {{.Author}} {{json .Config.Cmd}} {{len .RootFS.Layers}}' made:1
    d run --rm --network none made:1 sh -c 'ls /new; ls -d /bin/cat /home; stat -c %a /root /new/b'
    d commit s made:2; d inspect -f '{{len .RootFS.Layers}}' made:2; d commit nope x; d commit e Bad:Name`,
  "commit with changes": `
    for c in 'CMD a b' 'ENTRYPOINT ["x"]' 'ENV A=1 B=$PATH' 'EXPOSE 80' 'LABEL a=b' 'USER x' 'VOLUME /v' 'WORKDIR /w' \
      'ONBUILD RUN x' 'HEALTHCHECK CMD x' 'RUN x' 'ENV' 'EXPOSE 99999'; do d commit -c "$c" e made:3 &&
      d inspect -f '{{with .Config}}{{json .Cmd}}{{json .Entrypoint}}{{json .Env}}{{json .ExposedPorts}}{{json .Labels}}{{.User}}{{json .Volumes}}{{.WorkingDir}}{{json .OnBuild}}{{end}}' made:3
    done`,
  "commit of one that runs": `
    d commit r made:4; d run --rm --network none made:4 cat /data/one; d run --rm --network none made:4 ls /vol /tmpfs
    d commit --pause=false r made:5; d inspect -f '{{.State.Status}}' r`,
  "history of images that were made here": `
    d commit -c 'CMD x' e one:1; d create --name o2 one:1; d commit o2 two:1; d history --format '{{.ID}} {{.Size}}' two:1 |
    sed -E 's/^[0-9a-f]{12} /ID /'`,
};

interface Ran {
  stdout: string;
  stderr: string;
}

/** Runs a script where `d` is the client, with its containers, and clears away after it. */
function run(client: string, socket: string, script: string): Ran {
  const cwd = mkdtempSync(join(tmpdir(), "berth-files-"));
  const clear = "d rm -f -v $(d ps -aq); d volume rm vol; d rmi -f $(d images -q | sort -u | grep -v $keep)";
  const text = `d() { "${client}" "$@"; }
keep=$(d images -q berth/busybox)
(${local}${containers}) >/dev/null 2>set-up || cat set-up >&2; rm -f set-up
(${script})
(${clear}) >/dev/null 2>&1; true`;
  try {
    const ran = spawnSync("sh", ["-c", text], {
      cwd,
      encoding: "utf8",
      timeout: 120_000,
      killSignal: "SIGKILL",
      env: { ...process.env, DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: cwd, TZ: "UTC" },
    });
    return { stdout: same(ran.stdout, cwd), stderr: same(ran.stderr, cwd) };
  } finally {
    rmSync(cwd, { recursive: true });
  }
}

/** Without what differs between any two runs. */
function same(text: string, cwd: string): string {
  return text
    .replaceAll(cwd, "CWD")
    .replace(/[0-9a-f]{64}/g, "ID")
    .replaceAll("(exit status 1)", "")
    .trim();
}

const skip = process.geteuid?.() !== 0 ? "needs root" : dockerCliMissing();

describe("files of containers", { skip }, () => {
  const expected = new Map<string, Ran>();
  before(async () => {
    await using peer = await Dockerd.start();
    for (const [name, script] of Object.entries(scripts))
      expected.set(name, run("docker", peer.socket, script));
  });

  for (const [index, driver] of ["overlay2", "vfs"].entries()) {
    describe(`with ${driver}`, () => {
      let daemon: TestDaemon;
      before(async () => {
        daemon = await TestDaemon.start({ subnet: 91 + index, flags: ["--storage-driver", driver] });
        daemon.loadBusybox();
      });
      after(() => daemon.stop());
      for (const [name, script] of Object.entries(scripts)) {
        test(name, () => assert.deepEqual(run("docker", daemon.socket, script), expected.get(name)));
        if (driver !== "overlay2") continue;
        test(`${name}: berth`, () => {
          const ran = run(join(root, "bin/berth"), daemon.socket, script);
          assert.deepEqual(ran, expected.get(name));
        });
      }
    });
  }
});
