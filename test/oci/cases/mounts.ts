/** What a container finds mounted, and the paths that are hidden from it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SpecMount } from "#runtime/spec-types.ts";
import type { Case, Rig } from "#test/oci/rig.ts";

/** Mount point, type and options of some mounts; sizes and the like are told apart by name. */
const table = (points: string) =>
  `while read id parent dev root point options rest; do for p in ${points}; do [ "$point" = "$p" ] && echo "$point $options $(echo "$rest" | sed 's/.*- //' | cut -d' ' -f1)"; done; done < /proc/self/mountinfo | sort`;

function source(rig: Rig): string {
  const path = join(rig.directory, "source");
  mkdirSync(join(path, "below"), { recursive: true });
  writeFileSync(join(path, "file"), "content\n");
  return path;
}

function mounted(name: string, mount: (path: string) => SpecMount, script: string): Case {
  return {
    name,
    run(rig) {
      const path = source(rig);
      rig.script("inside", script, (spec) => {
        spec.mounts.push(mount(path));
      });
    },
  };
}
const bind = (path: string, ...options: string[]): SpecMount => ({
  destination: "/mnt",
  type: "bind",
  source: path,
  options: ["bind", ...options],
});

export const mountCases: Case[] = [
  {
    name: "the default mounts",
    run(rig) {
      rig.script("mounts", table("/ /proc /dev /dev/pts /dev/shm /dev/mqueue /sys"));
      rig.script("sizes", "grep -E ' /dev(/shm)? ' /proc/mounts | cut -d' ' -f1-3 | sort");
    },
  },
  mounted(
    "a bind mount",
    (path) => bind(path),
    `${table("/mnt")}; cat /mnt/file; touch /mnt/x && echo written`,
  ),
  mounted(
    "read-only",
    (path) => bind(path, "ro"),
    `${table("/mnt")}; touch /mnt/x 2>/dev/null || echo refused`,
  ),
  mounted("nosuid, nodev, noexec", (path) => bind(path, "nosuid", "nodev", "noexec"), table("/mnt")),
  mounted("noatime", (path) => bind(path, "noatime"), table("/mnt")),
  mounted("of a file", (path) => ({ ...bind(join(path, "file")), destination: "/etc/new" }), "cat /etc/new"),
  mounted(
    "made destinations",
    (path) => ({ ...bind(path), destination: "/a/b/c" }),
    "cat /a/b/c/file; stat -c %a /a/b",
  ),
  mounted(
    "tmpfs with options",
    () => ({
      destination: "/mnt",
      type: "tmpfs",
      source: "tmpfs",
      options: ["size=64k", "mode=1750", "uid=5", "gid=6", "nosuid"],
    }),
    `${table("/mnt")}; stat -c '%a %u %g' /mnt; grep ' /mnt ' /proc/mounts | tr , '\\n' | grep size`,
  ),
  mounted(
    "private propagation",
    (path) => bind(path, "rprivate"),
    "grep ' /mnt ' /proc/self/mountinfo | grep -c -E 'shared|master'",
  ),
  {
    name: "a recursive bind mount takes what is below along",
    run(rig) {
      const path = source(rig);
      const below = join(path, "below");
      rig.command(["mount", "-t", "tmpfs", "tmpfs", below]);
      try {
        writeFileSync(join(below, "deep"), "deep\n");
        for (const option of ["rbind", "bind"]) {
          rig.script(option, "cat /mnt/below/deep 2>/dev/null || echo none", (spec) => {
            spec.mounts.push({ destination: "/mnt", type: "bind", source: path, options: [option] });
          });
        }
        rig.script("recursively read-only", "touch /mnt/below/x 2>/dev/null || echo refused", (spec) => {
          spec.mounts.push({ destination: "/mnt", type: "bind", source: path, options: ["rbind", "rro"] });
        });
      } finally {
        rig.command(["umount", below]);
      }
    },
  },
  {
    name: "a destination through a link stays inside",
    run(rig) {
      const path = source(rig);
      rig.command(["ln", "-sfn", "/tmp/target", join(rig.rootfs, "link")]);
      rig.script("inside", "cat /tmp/target/file; cat /link/file", (spec) => {
        spec.mounts.push({ ...bind(path), destination: "/link" });
      });
    },
  },
  {
    name: "a read-only root",
    run(rig) {
      rig.script("root", "touch /x 2>/dev/null || echo refused; touch /dev/shm/x && echo written", (spec) => {
        spec.root.readonly = true;
      });
    },
  },
  {
    name: "masked and read-only paths",
    run(rig) {
      const script =
        "head -c1 /proc/kcore | wc -c; ls /sys/firmware | wc -l; (echo 1 > /proc/sys/kernel/panic) 2>/dev/null || echo refused; (echo h > /proc/sysrq-trigger) 2>/dev/null || echo refused";
      rig.script("defaults", script);
      rig.script(
        "one's own",
        "cat /etc/plain; ls /root | wc -l; touch /tmp/x 2>/dev/null || echo refused",
        (spec) => {
          spec.linux.maskedPaths = ["/etc/plain", "/root", "/nosuch"];
          spec.linux.readonlyPaths = ["/tmp", "/nosuch"];
        },
      );
    },
  },
  {
    name: "default devices",
    run(rig) {
      rig.script(
        "nodes",
        "stat -c '%n %F %t:%T %a' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty",
      );
      rig.script("links", "for l in fd stdin stdout stderr ptmx; do echo $l $(readlink /dev/$l); done");
      rig.script(
        "use",
        "head -c2 /dev/zero | wc -c; echo x > /dev/null; echo x 2>/dev/null > /dev/full || echo full",
      );
    },
  },
  {
    name: "further devices",
    run(rig) {
      rig.script("nodes", "stat -c '%n %F %t:%T %a %u %g' /dev/extra /dev/sub/block /dev/pipe", (spec) => {
        spec.linux.devices = [
          { path: "/dev/extra", type: "c", major: 10, minor: 200, fileMode: 0o640, uid: 3, gid: 4 },
          { path: "/dev/sub/block", type: "b", major: 7, minor: 9, fileMode: 0o600, uid: 0, gid: 0 },
          { path: "/dev/pipe", type: "p", fileMode: 0o644, uid: 0, gid: 0 },
        ];
      });
    },
  },
  {
    name: "devices that are not allowed cannot be used",
    run(rig) {
      rig.script("use", "mknod /tmp/mem c 1 1 && (head -c1 /tmp/mem 2>/dev/null || echo refused)", (spec) => {
        for (const set of ["bounding", "effective", "permitted"] as const)
          spec.process.capabilities?.[set]?.push("CAP_MKNOD");
      });
      rig.command(["rm", "-f", join(rig.rootfs, "tmp/mem")]);
    },
  },
  {
    name: "shared control group mounts",
    run(rig) {
      rig.script(
        "mounts",
        "ls /sys/fs/cgroup | grep -E '^(cpu|memory|pids|freezer)$' | sort; (mkdir /sys/fs/cgroup/pids/x) 2>/dev/null || echo refused",
        (spec) => {
          spec.mounts.push({
            destination: "/sys/fs/cgroup",
            type: "cgroup",
            source: "cgroup",
            options: ["nosuid", "noexec", "nodev", "relatime", "ro"],
          });
        },
      );
    },
  },
];
