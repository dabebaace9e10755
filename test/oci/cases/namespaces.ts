/** New, joined and the host's namespaces. */
import { readlinkSync } from "node:fs";
import type { NamespaceType } from "#runtime/spec-types.ts";
import type { Case, FullSpec, Rig } from "#test/oci/rig.ts";

const LINKS: Record<string, NamespaceType> = {
  cgroup: "cgroup",
  ipc: "ipc",
  mnt: "mount",
  net: "network",
  pid: "pid",
  uts: "uts",
  user: "user",
};

/** Which of a process' namespaces are the host's. */
function shared(rig: Rig, id: string): Record<string, boolean> {
  const pid = rig.pid(id);
  return Object.fromEntries(
    Object.keys(LINKS).map((name) => [
      name,
      readlinkSync(`/proc/${pid}/ns/${name}`) === readlinkSync(`/proc/self/ns/${name}`),
    ]),
  );
}

const without = (spec: FullSpec, type: NamespaceType) => {
  spec.linux.namespaces = (spec.linux.namespaces ?? []).filter((namespace) => namespace.type !== type);
};

export const namespaceCases: Case[] = [
  {
    name: "the usual ones are new",
    run(rig) {
      const id = rig.sleeper();
      rig.see("shared with the host", shared(rig, id));
      rig.oci(["delete", "-f", id]);
    },
  },
  ...(["ipc", "network", "pid", "uts", "cgroup"] as const).map(
    (type): Case => ({
      name: `without ${type}, the host's`,
      run(rig) {
        const id = rig.sleeper((spec) => {
          without(spec, type);
          delete spec.hostname;
          // Without a network namespace of one's own no sysfs can be mounted in some layouts; all three take the host's.
        });
        rig.see("shared with the host", shared(rig, id));
        rig.oci(["delete", "-f", id]);
      },
    }),
  ),
  ...(["ipc", "network", "pid", "uts"] as const).map(
    (type): Case => ({
      name: `${type} joined by path`,
      run(rig) {
        const first = rig.sleeper();
        const pid = rig.pid(first);
        const link = Object.keys(LINKS).find((name) => LINKS[name] === type) ?? "";
        const second = rig.sleeper((spec) => {
          without(spec, type);
          spec.linux.namespaces?.push({ type, path: `/proc/${pid}/ns/${link}` });
          delete spec.hostname;
        });
        rig.see(
          "joined",
          readlinkSync(`/proc/${rig.pid(second)}/ns/${link}`) === readlinkSync(`/proc/${pid}/ns/${link}`),
        );
        rig.oci(["delete", "-f", second]);
        rig.oci(["delete", "-f", first]);
      },
    }),
  ),
  {
    name: "names of the host",
    run(rig) {
      rig.script("hostname", "hostname; cat /proc/sys/kernel/domainname", (spec) => {
        spec.hostname = "case";
      });
    },
  },
  {
    name: "the loopback device is up, and alone",
    run(rig) {
      rig.script("links", "ip -o link | cut -d: -f2 | sort; ip -o addr show lo | grep -c 127.0.0.1");
    },
  },
  {
    name: "the first process is PID 1 in a session of its own",
    run(rig) {
      rig.script("ids", "echo $$; cut -d' ' -f5,6 /proc/1/stat");
    },
  },
  {
    name: "sysctls of its own namespaces",
    run(rig) {
      rig.script("values", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax", (spec) => {
        spec.linux.sysctl = { "net.ipv4.ip_forward": "1", "kernel.msgmax": "9000" };
      });
    },
  },
];
