/** User namespaces, new and joined, as the container, the host and an exec see them. */
import {
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Case, FullSpec, Rig } from "#test/oci/rig.ts";

const BASE = 200_000;
const MAPPINGS = [
  { containerID: 0, hostID: BASE, size: 1000 },
  { containerID: 1000, hostID: 400_000, size: 10 },
];

function giveTree(path: string, owner: number): void {
  lchownSync(path, owner, owner);
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) giveTree(inner, owner);
    else lchownSync(inner, owner, owner);
  }
}

const into = (spec: FullSpec, path?: string) => {
  spec.linux.namespaces?.push({ type: "user", ...(path !== undefined && { path }) });
  // Older peers want the mappings of a joined one repeated.
  Object.assign(spec.linux, { uidMappings: MAPPINGS, gidMappings: MAPPINGS });
};

/** A case whose root file system belongs to the mapped root. */
const mapped = (name: string, run: (rig: Rig) => void, differs: Record<string, string> = {}): Case => ({
  name,
  differs,
  run(rig) {
    giveTree(rig.rootfs, BASE);
    try {
      run(rig);
    } finally {
      giveTree(rig.rootfs, 0);
    }
  },
});

const withAll =
  (...names: string[]) =>
  (spec: FullSpec) => {
    into(spec);
    for (const set of ["bounding", "effective", "permitted"] as const)
      spec.process.capabilities?.[set]?.push(...names);
  };

export const userNamespaceCases: Case[] = [
  mapped("mappings of several ranges", (rig) => {
    const script =
      "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id; grep Cap /proc/self/status";
    rig.script("inside", script, into);
  }),
  mapped("files and devices", (rig) => {
    const script =
      "touch /made; stat -c '%u %g %a' /made /dev /dev/null /dev/pts /dev/shm /proc/self /sys; for name in null zero full random urandom tty; do stat -c '%t %T %F' /dev/$name; done; echo x >/dev/null && echo written";
    rig.script("inside", script, into);
    const made = statSync(join(rig.rootfs, "made"));
    rig.see("on the host", [made.uid, made.gid]);
    rmSync(join(rig.rootfs, "made"));
  }),
  mapped("a user of the second range with groups", (rig) => {
    rig.script(
      "inside",
      "id -u; id -g; id -G; grep -E '^(Uid|Cap)' /proc/self/status; echo again >> /dev/stdout",
      (spec) => {
        into(spec);
        spec.process.user = { uid: 1001, gid: 1002, additionalGids: [5, 1003] };
      },
    );
  }),
  mapped("what is masked and read-only", (rig) => {
    rig.script(
      "inside",
      "wc -c < /proc/keys; ls /proc/acpi 2>/dev/null | wc -l; ls /sys/firmware | wc -l; touch /proc/sys/kernel/hostname; echo $?; touch /sys/x; echo $?",
      into,
    );
  }),
  mapped("rights over its own namespaces, and none over the host", (rig) => {
    rig.script(
      "inside",
      "mount -t tmpfs x /mnt; echo $?; hostname other; echo $?; ip link set lo down; echo $?; mknod /dev/mine c 1 3; echo $?; echo 1 > /proc/sys/kernel/printk; echo $?",
      withAll("CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_MKNOD"),
    );
  }),
  mapped("bind mounts", (rig) => {
    const source = join(rig.directory, "bound");
    mkdirSync(source, { recursive: true });
    writeFileSync(join(source, "file"), "content\n");
    rig.script(
      "inside",
      "cat /data/file; stat -c '%u %g' /data/file; touch /data/new; echo $?; cat /plain",
      (spec) => {
        into(spec);
        spec.mounts.push(
          { destination: "/data", type: "bind", source, options: ["rbind", "ro"] },
          { destination: "/plain", type: "bind", source: join(source, "file"), options: ["bind"] },
        );
      },
    );
  }),
  mapped("limits and the place in an emergency", (rig) => {
    rig.script("inside", "grep 'open files' /proc/self/limits; cat /proc/self/oom_score_adj", (spec) => {
      into(spec);
      spec.process.rlimits = [{ type: "RLIMIT_NOFILE", soft: 50, hard: 60 }];
      spec.process.oomScoreAdj = 200;
    });
  }),
  mapped("exec, as root and as another", (rig) => {
    const id = rig.sleeper(into);
    for (const user of ["0", "1003:1004"]) {
      const { code, stdout } = rig.oci([
        "exec",
        "-u",
        user,
        id,
        "sh",
        "-c",
        "id; cat /proc/self/uid_map; grep Cap /proc/self/status",
      ]);
      rig.see(`as ${user}`, { code, stdout });
    }
    rig.see("uid on the host", /^Uid:.*$/m.exec(readFileSync(`/proc/${rig.pid(id)}/status`, "utf8"))?.[0]);
    rig.oci(["delete", "-f", id]);
  }),
  mapped("joined by path", (rig) => {
    const first = rig.sleeper(into);
    const pid = rig.pid(first);
    const second = rig.sleeper((spec) => into(spec, `/proc/${pid}/ns/user`));
    for (const name of ["user", "pid", "net", "mnt"]) {
      const same =
        readlinkSync(`/proc/${rig.pid(second)}/ns/${name}`) === readlinkSync(`/proc/${pid}/ns/${name}`);
      rig.see(`same ${name}`, same);
    }
    const { code, stdout } = rig.oci(["exec", second, "cat", "/proc/self/uid_map"]);
    rig.see("exec", { code, stdout });
    rig.oci(["delete", "-f", second]);
    rig.oci(["delete", "-f", first]);
  }),
  mapped("joined by path together with its network", (rig) => {
    const first = rig.sleeper(into);
    const pid = rig.pid(first);
    const second = rig.sleeper((spec) => {
      into(spec, `/proc/${pid}/ns/user`);
      for (const namespace of spec.linux.namespaces ?? [])
        if (namespace.type === "network") namespace.path = `/proc/${pid}/ns/net`;
    });
    rig.see("same", readlinkSync(`/proc/${rig.pid(second)}/ns/net`) === readlinkSync(`/proc/${pid}/ns/net`));
    rig.oci(["delete", "-f", second]);
    rig.oci(["delete", "-f", first]);
  }),
  mapped("the host's network", (rig) => {
    rig.script("inside", "ls /sys/class/net | sort; touch /sys/x; echo $?", (spec) => {
      into(spec);
      spec.linux.namespaces = spec.linux.namespaces?.filter(({ type }) => type !== "network") ?? [];
    });
  }),
  mapped("what is refused", (rig) => {
    const refused = (label: string, change: (spec: FullSpec) => void) =>
      rig.script(label, "true", (spec) => {
        into(spec);
        change(spec);
      });
    refused("no mappings", (spec) => {
      spec.linux.uidMappings = [];
      spec.linux.gidMappings = [];
    });
    refused("root is nobody", (spec) => {
      spec.linux.uidMappings = [{ containerID: 1, hostID: BASE, size: 10 }];
    });
    refused("ranges on top of each other", (spec) => {
      spec.linux.uidMappings = [...MAPPINGS, { containerID: 5, hostID: 900_000, size: 2 }];
    });
    refused("a user who is nobody", (spec) => {
      spec.process.user.uid = 5000;
    });
    refused("a group that is nobody's", (spec) => {
      spec.process.user.additionalGids = [5000];
    });
    refused("mappings without a namespace", (spec) => {
      spec.linux.namespaces = spec.linux.namespaces?.filter(({ type }) => type !== "user") ?? [];
    });
  }),
];
