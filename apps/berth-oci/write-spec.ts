/** `berth-oci spec`: a config.json that runs a shell, to be changed as needed. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { readHostFacts } from "#kernel/host-facts.ts";
import { defaultSpec } from "#runtime/default-spec.ts";

/** Throws "conflict" if the bundle has one already. */
export function writeSpec(bundle: string, { rootless }: { rootless: boolean }): void {
  const { architecture, kernelRelease } = readHostFacts();
  const spec = defaultSpec({ architecture, kernelRelease });
  spec.process.terminal = true;
  spec.process.env?.push("TERM=xterm");
  spec.hostname = "berth";
  // As other runtimes' templates: the filter is the caller's choice.
  delete spec.linux.seccomp;
  if (rootless) makeRootless(spec);
  const path = join(bundle, "config.json");
  try {
    writeFileSync(path, `${JSON.stringify(spec, null, 2)}\n`, { flag: "wx", mode: 0o644 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
    throw new BerthError("conflict", `file ${path} exists. Remove it first`, {
      operation: "write spec",
      cause,
    });
  }
}

/** For an ordinary user: mapped to root inside, nothing that takes privileges on the host. */
function makeRootless(spec: ReturnType<typeof defaultSpec>): void {
  const { linux } = spec;
  linux.namespaces = [
    ...(linux.namespaces ?? []).filter(({ type }) => type !== "network" && type !== "user"),
    { type: "user" },
  ];
  linux.uidMappings = [{ containerID: 0, hostID: process.geteuid?.() ?? 0, size: 1 }];
  linux.gidMappings = [{ containerID: 0, hostID: process.getegid?.() ?? 0, size: 1 }];
  delete linux.resources;
  // They are the network namespace's.
  delete linux.sysctl;
  // Without a network namespace of one's own no sysfs can be mounted: the host's is shown instead.
  spec.mounts = (spec.mounts ?? [])
    .filter(({ type }) => type !== "cgroup")
    .map((mount) =>
      mount.destination === "/sys"
        ? {
            destination: "/sys",
            type: "none",
            source: "/sys",
            options: ["rbind", "nosuid", "noexec", "nodev", "ro"],
          }
        : { ...mount, options: (mount.options ?? []).filter((option) => !/^(uid|gid)=/.test(option)) },
    );
}
