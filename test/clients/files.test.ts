/**
 * Files of containers: what docker's command line says and does against Debian's dockerd, it says and does against Berth, with
 * both of Berth's storage drivers, and so does Berth's own command line.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { dockerCliMissing } from "#test/clients/docker-cli.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { Dockerd } from "#test/fixtures/peer-engines.ts";

const root = resolve(import.meta.dirname, "../..");

/** Files of this machine that are copied from; made anew for every script, in a directory of its own. */
const local = `
mkdir -p dir/sub empty target
echo file > file; echo sub > dir/sub/f; echo exec > dir/exec; chmod 4755 dir/exec
ln -s file link; ln -s dir dirlink; ln -s /nowhere dangling; ln -s sub/f dir/inner
printf old > target/file; chown 1000:1001 file
`;

/** What scripts find in the container that runs; made anew for each. */
const data = `
rm -rf /data /dlink /tmp/* /vol/*
mkdir -p /data/sub; echo one >/data/one; ln -s one /data/link; ln -s /data /dlink; ln -s nowhere /data/broken
echo deep >/data/sub/deep; echo in >/vol/in
`;

/** Containers every script finds: run runs, set never ran, end has ended, ro may not be written to. */
const containers = `
mkdir bind; echo file > bind/file
d run -d --name run --network none -v vol:/vol -v $PWD/bind:/bind:ro --tmpfs /tmpfs berth/busybox sleep 1000
d create --name set --network none -v vol:/vol berth/busybox sh
d create --name ro --network none --read-only -v vol:/vol -v vol:/volro:ro berth/busybox sh
d run --name end --network none berth/busybox sh -c \
  'mkdir /new /new/dir; echo a >/new/a; ln /new/a /new/b; rm /bin/cat; echo x >>/etc/group; mkfifo /new/fifo;
   rm -r /home; echo file >/home; chmod 700 /root; ln -s a /new/l; touch /tmp'
`;

/** How a tree of this machine looks. */
const tree = "find . -mindepth 1 -printf '%y %m %U:%G %p %l\\n' | sort";
const listing = "tar --numeric-owner -tv | sed -E 's/[0-9-]{10} [0-9:]{5}/TIME/; s/ +/ /g'";

const scripts: Record<string, string> = {
  "diff of what ended, runs and never ran":
    "d diff end | sort; echo; d diff run | sort; echo; d diff set; d diff nope",
  "out: a file to a name, into a directory, over a file": `
    d cp run:/data/one here; d cp run:/data/one target; d cp run:/data/one target/file; cat target/file; ${tree}`,
  "out: to what isn't there": `
    d cp run:/data/one no/such; d cp run:/data/one nowhere/; d cp run:/data/sub new; d cp run:/data/sub/. new2; ${tree}`,
  "out: a directory into one, and its content": `
    d cp run:/data target; d cp run:/data/. empty; d cp run:/data/ empty; ${tree}`,
  "out: a directory over a file": "d cp run:/data file",
  "out: links": `
    d cp run:/data/link .; d cp -L run:/data/link followed; d cp run:/dlink d1; d cp -L run:/dlink d2; d cp run:/dlink/. d3
    d cp run:/data/broken b1; d cp -L run:/data/broken b2; ${tree}`,
  "out: volumes, binds, stopped ones": `
    d cp run:/vol v1; d cp set:/vol v2; d cp set:/vol/in v3; d cp run:/bind/file b; cat v1/in v2/in v3 b; ${tree}`,
  "out: what isn't there": "d cp run:/nope .; d cp nope:/x .; d cp run:/etc/mtab/x .",
  "out: as an archive": `
    d cp run:/data - | ${listing}; d cp run:/data/. - | ${listing}; d cp run:/data/link - | ${listing}
    d cp end:/new - | ${listing}; d cp run:/data/one - | tar -xO`,
  "in: a file to a name, into a directory, over a file": `
    d cp file run:/data/two; d cp file run:/data; d cp file run:/data/one; d cp file run:/data/sub/; d cp file run:/tmp
    d exec run sh -c 'ls -ln /data /data/sub | sed "s/ [A-Z][a-z][a-z] .*:.. / /"; cat /data/one'`,
  "in: a directory": `
    d cp dir run:/data; d cp dir run:/data/named; d cp dir/. run:/data/sub; d cp empty run:/data/none
    d exec run find /data | sort; d exec run ls -l /data/dir/exec | cut -c1-10`,
  "in: to what isn't there": `
    d cp file run:/no/such; d cp file run:/nowhere/; d cp dir run:/no/such; d cp nofile run:/; d cp dir run:/data/one`,
  "in: links": `
    d cp link run:/data/l1; d cp -L link run:/data/l2; d cp dirlink run:/data/d1; d cp -L dirlink run:/data/d2
    d cp dangling run:/data/broken2; d cp file run:/dlink; d cp file run:/data/link
    d exec run sh -c 'cd /data; ls -l | sed "s/.* //"; cat l2 one; ls d2'`,
  "in: stopped containers and volumes": `
    d cp file set:/vol/new; d cp file set:/etc/new; d cp dir set:/; d exec run cat /vol/new; d cp set:/etc/new - | tar -xO
    d diff set | sort`,
  "in: read-only": `
    d cp file ro:/etc; d cp file ro:/vol/ok; d cp file ro:/volro; d cp file run:/bind/x; d exec run cat /vol/ok`,
  "in: kinds that don't fit": `
    d exec run sh -c 'mkdir /data/file; echo >/data/dir'; d cp file run:/data; d cp dir run:/data; d exec run ls -l /data/file`,
  "in: an archive": `
    tar -c dir file | d cp - run:/data; tar -cz link | d cp - run:/data; d exec run find /data | sort
    tar -c file | d cp - run:/data/one; tar -c file | d cp - run:/nope`,
  "in: owners, into a container with a user": `
    d run -d --name usr --network none -u 5:6 berth/busybox sleep 1000 >usr.id; d cp file usr:/tmp/plain
    d exec usr ls -ln /tmp | awk '{print $3, $4, $9}'; d rm -f usr`,
  "wrong arguments": "d cp run:/x set:/y; d cp a b; d cp '' run:/; d cp run:/x ''",
  "export, and back": `
    d export end | ${listing} | grep -v ' bin/'; d export run | ${listing} | grep -v ' bin/'; d export nope
    d export end | d import -m why -c 'CMD ["/bin/sh"]' - again:1; d history --format '{{.Size}} {{.Comment}}' again:1
    d inspect -f '{{json .Config.Cmd}} {{.Architecture}}' again:1; d run --rm --network none again:1 ls /new`,
  "import of nothing, of junk, and from an address": `
    printf '' | d import - empty:1; d history --format '{{.Size}} {{.Comment}}' empty:1; gzip -c file | d import - 2>/dev/null || echo failed
    d import http://127.0.0.1:1/x; d import nofile`,
  commit: `
    d commit -m why -a me end made:1; d history --format '{{.CreatedBy}}|{{.Size}}|{{.Comment}}' made:1
    d inspect -f '{{.Comment}} {{.Author}} {{json .Config.Cmd}} {{len .RootFS.Layers}}' made:1
    d run --rm --network none made:1 sh -c 'ls /new; ls -d /bin/cat /home; stat -c %a /root /new/b'
    d commit set made:2; d inspect -f '{{len .RootFS.Layers}}' made:2; d commit nope x`,
  "commit with changes": `
    for c in 'CMD a b' 'ENTRYPOINT ["x"]' 'ENV A=1 B=$PATH' 'EXPOSE 80' 'LABEL a=b' 'USER x' 'VOLUME /v' 'WORKDIR /w' \
      'ONBUILD RUN x' 'HEALTHCHECK CMD x' 'RUN x' 'ENV' 'EXPOSE 99999'; do d commit -c "$c" end made:3 &&
      d inspect -f '{{json .Config}}' made:3 | tr ',{}' '\\n' | grep -vE 'null|""|false|"Hostname"|"Image"|^$' | sort
    done`,
  "commit of one that runs": `
    d commit run made:4; d run --rm --network none made:4 cat /data/one; d run --rm --network none made:4 ls /vol /tmpfs
    d commit --pause=false run made:5; d inspect -f '{{.State.Status}}' run`,
  "history of images that were made here": `
    d commit -c 'CMD x' end one:1; d create --name o2 one:1; d commit o2 two:1; d history --format '{{.ID}} {{.Size}}' two:1 |
    sed -E 's/^[0-9a-f]{12} /ID /'`,
};

interface Ran {
  stdout: string;
  stderr: string;
}

/** Runs all scripts with their containers, `d` being the client, and clears away after them. */
function runAll(client: string, socket: string): Map<string, Ran> {
  const cwd = mkdtempSync(join(tmpdir(), "berth-files-"));
  const shell = (directory: string, script: string): Ran => {
    const ran = spawnSync("sh", ["-c", `d() { "${client}" "$@"; }\n${script}`], {
      cwd: directory,
      encoding: "utf8",
      timeout: 300_000,
      killSignal: "SIGKILL",
      env: { ...process.env, DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: cwd, TZ: "UTC" },
    });
    return { stdout: same(ran.stdout, directory), stderr: same(ran.stderr, directory) };
  };
  try {
    const images = shell(cwd, "d images -q").stdout;
    const made = shell(cwd, `set -e\n${containers}`);
    assert.equal(made.stderr, "");
    const results = new Map<string, Ran>();
    for (const [index, [name, script]] of Object.entries(scripts).entries()) {
      const directory = join(cwd, String(index));
      mkdirSync(directory);
      const ready = shell(directory, `${local}d exec run sh -c '${data}'`);
      assert.equal(ready.stderr, "");
      results.set(name, shell(directory, script));
    }
    shell(
      cwd,
      `d rm -f -v $(d ps -aq); d volume rm vol; d rmi -f $(d images -q | sort -u | grep -v '${images}')`,
    );
    return results;
  } finally {
    rmSync(cwd, { recursive: true });
  }
}

/** Without what differs between any two runs. */
function same(text: string, cwd: string): string {
  return (
    text
      .replaceAll(cwd, "CWD")
      .replace(/[0-9a-f]{64}/g, "ID")
      // What the client says of its own streams, if it gets to it; and words that Docker has left out since.
      .replace(/^time="[^"]*" level=.*\n/gm, "")
      .replaceAll("(exit status 1)", "")
      .replaceAll("Error processing tar file: ", "")
      .trim()
  );
}

const skip = process.geteuid?.() !== 0 ? "needs root" : dockerCliMissing();

describe("files of containers", { skip }, () => {
  let expected: Map<string, Ran>;
  before(async () => {
    await using peer = await Dockerd.start({ network: false });
    execFileSync("docker", [
      "-H",
      `unix://${peer.socket}`,
      "load",
      "-q",
      "-i",
      join(root, "build/busybox.tar"),
    ]);
    expected = runAll("docker", peer.socket);
  });

  for (const [index, driver] of ["overlay2", "vfs"].entries()) {
    describe(`with ${driver}`, () => {
      let daemon: TestDaemon;
      before(async () => {
        daemon = await TestDaemon.start({ subnet: 91 + index, flags: ["--storage-driver", driver] });
        daemon.loadBusybox();
      });
      after(() => daemon.stop());
      const clients = driver === "overlay2" ? ["docker", join(root, "bin/berth")] : ["docker"];
      for (const client of clients) {
        describe(`by ${basename(client)}`, () => {
          let ran: Map<string, Ran>;
          before(() => {
            ran = runAll(client, daemon.socket);
          });
          for (const name of Object.keys(scripts)) {
            test(name, () => assert.deepEqual(ran.get(name), expected.get(name)));
          }
        });
      }
    });
  }
});
