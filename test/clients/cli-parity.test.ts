/**
 * The create request of Berth's command line is, field for field, the one that docker's sends for the same arguments;
 * and what docker's refuses, Berth's refuses with the same words.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { UsageError } from "#cli/flags.ts";
import { InvalidOptionsError, parseCreate } from "#cli/run/create-request.ts";
import { dockerCliMissing, RecordingEngine } from "#test/clients/docker-cli.ts";

const env = { HERE: "from outside" };

/** Each line is one command line, split at spaces; '…' keeps spaces. */
const accepted = `
busybox
busybox sh -c 'exit 7' --rm
-it --rm --name x busybox sh
-ti=false --init=false busybox
-i -a stdin -a STDOUT busybox
-a stderr busybox
-p 8080:80 -p 127.0.0.1:90-92:90-92/udp -p 53 -p [::1]:77:77/sctp -p 9000-9002:5000 -p ::1:5:6 -p 0.0.0.0::9 busybox
-p target=80,published=8080,protocol=udp -p 80:80 -p 81:80 --expose 99 --expose 5-7/udp -P busybox
-v vol:/www -v /srv/x:/x:ro -v /anon -v ./rel:/rel -v .:/here -v a:/b:nocopy -v x -v :y busybox
-v /a:/b -v /a:/b --tmpfs /t --tmpfs /u:size=5,mode=1777 busybox
-m 64m --memory-swap 2G --memory-reservation 1m --memory-swappiness 5 --cpus 0.5 --pids-limit 50 busybox
-m 1.5g --memory-swap -1 --cpus 1.25 --pids-limit -1 --oom-kill-disable --oom-score-adj -500 busybox
--cpu-period 1 --cpu-quota 2 --cpu-rt-period 3 --cpu-rt-runtime 4 -c 5 --cpuset-cpus 0 --cpuset-mems 0-1 busybox
--blkio-weight 50 --blkio-weight-device /dev/sda:50 --device-read-bps /dev/sda:1mb --device-read-iops /dev/a:1 busybox
--device-write-bps /dev/b:2k --device-write-iops /dev/sda:10 --shm-size 1g busybox
-e Z=1 -e HERE -e NOTSET -e EMPTY= busybox
--env-file env-file -e X=2 busybox
--label-file label-file -l a=z -l plain -l eq=a=b busybox
--mount type=bind,src=/tmp,dst=/y,readonly --mount src=v,dst=/a busybox
--mount type=volume,src=v,dst=/a,volume-nocopy,volume-label=a=b,volume-driver=d,volume-opt=o=p,volume-subpath=s busybox
--mount type=tmpfs,dst=/t,tmpfs-size=5m,tmpfs-mode=1770 --mount type=image,src=i,dst=/i,image-subpath=z busybox
--mount type=bind,src=/a,dst=/b,bind-propagation=rprivate,bind-recursive=readonly,readonly busybox
--mount type=bind,src=.,dst=/b,bind-nonrecursive --mount type=bind,source=../x,target=/c,bind-propagation=rslave busybox
--network foo --network-alias z --ip 1.2.3.4 --link a:b --link c busybox
--network name=foo,alias=a,driver-opt=x=y,mac-address=02:00:00:00:00:01,gw-priority=5,ip=1.2.3.4 --network bar busybox
--network foo --link-local-ip 169.254.1.1 --mac-address 02:00:00:00:00:02 --ip6 fe80::5 busybox
--network host busybox
--network none --link a busybox
--network container:x --hostname a -p 80 busybox
--link a --ip 10.0.0.1 busybox
--device /dev/null --device /dev/zero:/dev/z:r --device /dev/full:rw --device vendor.com/class=name busybox
--device-cgroup-rule 'c 1:3 rwm' --gpus all busybox
--gpus device=0,capabilities=compute --gpus '"device=1,2"' --gpus 2 busybox
--cap-add ALL --cap-add net_admin --cap-drop net_admin --cap-add cap_chown --cap-drop kill --privileged busybox
--security-opt no-new-privileges --security-opt label=disable --security-opt seccomp=unconfined busybox
--security-opt systempaths=unconfined --security-opt seccomp=seccomp.json --security-opt label:disable busybox
--health-cmd 'curl x' --health-interval 5s --health-timeout 1m30s --health-retries 3 --health-start-period 1.5h busybox
--health-start-interval 10ms busybox
--no-healthcheck busybox
--restart on-failure:3 busybox
--restart unless-stopped --stop-signal TERM --stop-timeout 5 busybox
--restart no --rm busybox
--log-driver local --log-opt a=b --log-opt c --storage-opt size=1 --annotation q=r --annotation s busybox
--sysctl net.ipv4.ip_forward=1 --sysctl kernel.shmmax=5 --ulimit nofile=10:20 --ulimit core=-1 --ulimit cpu=5 busybox
--add-host a:1.2.3.4 --add-host b=::1 --add-host c:host-gateway --add-host d:[::1] busybox
--dns 1.1.1.1 --dns-option x --dns-search d -h hn --domainname dn -u 1:2 -w /w --group-add 5 busybox
--ipc host --pid container:x --uts host --userns host --cgroupns private --runtime r --isolation default busybox
--cgroup-parent /x --read-only --volume-driver vd --volumes-from a:ro --cidfile cid --platform linux/arm64 busybox
--entrypoint '' busybox
--entrypoint /bin/x busybox -- a
--name=a --pull never -q busybox
-eA=b -m64m -p8080:80 -uroot busybox
-- busybox -x
`;

const refused = `
--foo busybox
-z busybox
--label
-e
-p 99999:1 busybox
-p a:b busybox
-p 1-2:3-5 busybox
-p 80:80/foo busybox
-e =x busybox
--cpus x busybox
--cpus 0.0000000001 busybox
-m abc busybox
-m -1 busybox
--memory-swap -2 busybox
--memory-swappiness 500 busybox
--shm-size -1 busybox
--label-file /nonexistent busybox
--env-file bad-env-file busybox
-v '' busybox
--network a --network a busybox
--network '' busybox
--network host --network-alias a busybox
--network a --network host busybox
--network name=a,alias=b --network-alias c busybox
--network alias=b busybox
--network name=a,foo=b busybox
--mac-address foo busybox
--gpus all,foo busybox
-a foo busybox
--device a:b:c:d busybox
--device vendor.com/a:rw busybox
--device /dev/a:/dev/b:xyz busybox
--device-cgroup-rule foo busybox
--ulimit foo=1 busybox
--ulimit nofile=5:4 busybox
--ulimit nofile=x busybox
--add-host foo busybox
--add-host a:b busybox
--log-driver none --log-opt a=b busybox
--dns foo busybox
--cgroupns x busybox
--pid x busybox
--uts y busybox
--userns y busybox
--health-interval -1s busybox
--health-interval 5 busybox
--health-retries -1 busybox
--health-cmd x --no-healthcheck busybox
--expose foo busybox
--expose 1:2 busybox
--restart on-failure:x busybox
--restart always --rm busybox
--storage-opt x busybox
--label =x busybox
--sysctl foo=1 busybox
--security-opt foo busybox
--security-opt seccomp=/nonexistent busybox
--stop-timeout x busybox
--pids-limit x busybox
--blkio-weight 99999 busybox
--blkio-weight x busybox
--blkio-weight-device /dev/sda:5 busybox
--device-read-bps x busybox
--device-read-bps /dev/x:foo busybox
--device-read-iops /dev/x:foo busybox
--privileged=maybe busybox
--mount dst=/a,bind-propagation=x busybox
--mount type=bind,src=a busybox
--mount foo=1,dst=/a busybox
--mount foo,dst=/a busybox
--mount type=volume,dst=/a,tmpfs-size=1 busybox
--mount type=tmpfs,dst=/a,tmpfs-size=x busybox
--mount type=bind,src=/a,dst=/b,bind-recursive=readonly busybox
--mount type=bind,src=/a,dst=/b,bind-recursive=foo busybox
--mount type=bind,src=/a,dst=/b,ro=maybe busybox
`;

const lines = (text: string) => text.trim().split("\n");
const split = (line: string) =>
  [...line.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2] ?? "");

/** Docker keeps binds and the environment in maps, whose order is random. */
function sortMaps(body: unknown): unknown {
  const { Env, HostConfig } = body as { Env: string[] | null; HostConfig: { Binds: string[] | null } };
  HostConfig.Binds?.sort();
  Env?.sort();
  return body;
}

describe("create requests are docker's", { skip: dockerCliMissing() }, () => {
  const engine = new RecordingEngine();
  let directory = "";
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "berth-parity-"));
    writeFileSync(join(directory, "env-file"), "X=1\n# comment\n  Y=2 \nHERE\nNOTSET\nQ='a b'\n");
    writeFileSync(join(directory, "bad-env-file"), "A B=1\n");
    writeFileSync(join(directory, "label-file"), "a\nb=c\n# d\n e=f\n");
    writeFileSync(join(directory, "seccomp.json"), '{ "defaultAction": "SCMP_ACT_ALLOW" }\n');
    await engine.listen();
  });
  after(async () => {
    await engine[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });
  const around = () => ({
    env,
    cwd: directory,
    readFile: (path: string) => {
      const full = join(path.startsWith("/") ? "/" : directory, path);
      try {
        return readFileSync(full, "utf8");
      } catch {
        throw new Error(`open ${path}: no such file or directory`);
      }
    },
  });

  for (const line of lines(accepted))
    it(line, async () => {
      const argv = split(line);
      const sent = await engine.docker(["create", ...argv], { cwd: directory, env });
      assert.notEqual(sent.body, undefined, sent.stderr);
      const ours = parseCreate(argv, around());
      assert.deepEqual(sortMaps(JSON.parse(JSON.stringify(ours.request))), sortMaps(sent.body));
      assert.equal(ours.name, sent.query.name ?? "");
      assert.equal(ours.platform, sent.query.platform ?? "");
    });

  for (const line of lines(refused))
    it(`refuses ${line}`, async () => {
      const argv = split(line);
      const sent = await engine.docker(["create", ...argv], { cwd: directory, env });
      assert.equal(sent.body, undefined);
      const [message] = sent.stderr.replace(/^docker: /, "").split("\n");
      assert.throws(
        () => parseCreate(argv, around()),
        (error) => {
          assert.ok(error instanceof UsageError || error instanceof InvalidOptionsError, String(error));
          assert.equal(error.message, message);
          assert.equal(error instanceof UsageError, sent.stderr.includes("Usage:"));
          return true;
        },
      );
    });
});
