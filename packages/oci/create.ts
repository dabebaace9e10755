/**
 * `create`, and the first half of `run`: a bundle becomes a container that waits for its start. Either it is there
 * afterwards, state and all, or nothing of it is.
 */
import { fstatSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { readHostFacts } from "#kernel/host-facts.ts";
import { readStartTicks } from "#kernel/process-status.ts";
import { type Bundle, readBundle } from "#oci/bundle.ts";
import { withAbsoluteSources } from "#oci/bundle-mounts.ts";
import { ociState } from "#oci/container-status.ts";
import { withDeviceAccess } from "#oci/device-access.ts";
import { runHooks } from "#oci/hooks.ts";
import { checkNetworkSysctls } from "#oci/host-network.ts";
import { checkRootless, hostFor, mapByTools, ownerOnHost, rootlessCaller } from "#oci/id-mapping.ts";
import { launcherPath } from "#oci/launcher-path.ts";
import { prepareProcess } from "#oci/prepare-process.ts";
import { removeRdtGroup } from "#oci/rdt-group.ts";
import type { StateDirectory, StoredContainer } from "#oci/state-directory.ts";
import { warn } from "#oci/warnings.ts";
import { type LauncherRun, runLauncher } from "#program/launcher-run.ts";
import type { CgroupPlacement } from "#runtime/cgroups/container-cgroup.ts";
import { removeContainerCgroups } from "#runtime/cgroups/remove.ts";
import { prepareCgroups, settleCgroups } from "#runtime/cgroups/settle.ts";
import { createScope } from "#runtime/cgroups/systemd-scope.ts";
import { BUNDLE_NOTE } from "#runtime/compile/bundle-frame.ts";
import { linuxWarnings } from "#runtime/compile/check-linux.ts";
import { processWarnings } from "#runtime/compile/check-process.ts";
import { compileBundle, HOOK_STATE } from "#runtime/compile-bundle.ts";
import { explainRuntimeFailure } from "#runtime/explain.ts";
import type { BundleLaunch, BundleTerminal, CompiledLaunch } from "#runtime/launch-types.ts";
import type { SpecProcess } from "#runtime/spec-types.ts";

export interface CreateOptions {
  id: string;
  /** Directory of the bundle. */
  bundle: string;
  consoleSocket?: string;
  pidFile?: string;
  /** How many descriptors from 3 on the process gets. */
  preserveFds: number;
  noPivot: boolean;
  noNewKeyring: boolean;
  /** systemd makes the control groups. */
  systemdCgroup: boolean;
  /** The caller waits for the end; without that it is left to its subreaper. */
  foreground: boolean;
}

export interface CreatedContainer {
  container: StoredContainer;
  run: LauncherRun;
}

/** Throws BerthError; nothing is left of a container that could not be made. */
export async function createContainer(
  states: StateDirectory,
  options: CreateOptions,
): Promise<CreatedContainer> {
  const { id } = options;
  const directory = states.path(id);
  if (states.taken(id)) states.claim(id);
  const bundle = readBundle(options.bundle);
  const terminal = terminalOf(bundle.spec.process, options);
  const launch = launchOf(bundle, options, directory, terminal);
  if (launch.spec.process) {
    const prepared = await prepareProcess(launch.spec.process, {
      host: launch.host,
      root: bundle.rootfs,
      preserveFds: options.preserveFds,
      environment: process.env,
    });
    launch.spec.process = prepared.process;
    launch.preserveFds = prepared.preserveFds;
  }
  checkNetworkSysctls(launch.spec);
  if (Object.keys(bundle.spec.linux?.netDevices ?? {}).length > 0) {
    // Only here are the host's devices asked for; nobody else waits for the netlink part to load.
    const { planNetDevices } = await import("#oci/net-devices.ts");
    launch.sandbox = planNetDevices(bundle.spec);
  }
  const owner = await settleCgroups(launch.cgroups, {
    id,
    cgroupsPath: bundle.spec.linux?.cgroupsPath,
    systemd: options.systemdCgroup,
    rootless: launch.rootless !== undefined || (launch.host.inUserNamespace ?? false),
  });
  launch.cgroupOwner = owner;
  launch.ask.forked = owner.unit !== undefined;
  const compiled = compileBundle(launch);
  warnOf(launch);
  states.claim(id);
  try {
    prepareCgroups(launch.cgroups, owner);
    return await launchContainer(states, { bundle, launch, owner, compiled, options });
  } catch (error) {
    await removeContainerCgroups(launch.cgroups, owner).catch(() => undefined);
    removeRdtGroup(id, launch.spec, launch.host);
    states.remove(id);
    throw error;
  }
}

/** What of the configuration is passed over. */
function warnOf({ spec: { process: process_, linux }, host }: BundleLaunch): void {
  const messages = [
    ...(process_ ? processWarnings(process_, host) : []),
    ...(linux ? linuxWarnings(linux) : []),
  ];
  for (const message of messages) warn(message);
}

/** Who gets the terminal. Throws where nobody could. */
export function terminalOf(
  process_: Pick<SpecProcess, "terminal"> | undefined,
  { foreground, consoleSocket }: { foreground: boolean; consoleSocket?: string | undefined },
): BundleTerminal | undefined {
  const wanted = process_?.terminal ?? false;
  const refuse = (message: string) => new BerthError("invalid", message, { operation: "make terminal" });
  if (consoleSocket !== undefined && (foreground || !wanted)) {
    throw refuse("cannot use console socket if runtime will not detach or allocate tty");
  }
  if (!wanted) return undefined;
  if (consoleSocket !== undefined) return { kind: "socket", path: resolve(consoleSocket) };
  if (!foreground) throw refuse("cannot allocate tty if runtime will detach without setting console socket");
  const { rows, columns } = process.stdout;
  return { kind: "relay", ...(rows !== undefined && columns !== undefined && { rows, columns }) };
}

/** Those of the caller's descriptors 0, 1 and 2 that are the null device (major 1, minor 3). */
export function nullStdio(): number[] {
  const NULL_DEVICE = (1 << 8) | 3;
  return [0, 1, 2].filter((fd) => {
    try {
      const found = fstatSync(fd);
      return found.isCharacterDevice() && found.rdev === NULL_DEVICE;
    } catch {
      return false; // Closed.
    }
  });
}

/** Those of the caller's descriptors 0, 1 and 2 that the user shall be able to open again; never a shared device. */
export function stdioToGive(uid: number | undefined): number[] {
  if (uid === 0 || uid === undefined) return [];
  return [0, 1, 2].filter((fd) => {
    try {
      const found = fstatSync(fd);
      return !found.isCharacterDevice() && found.uid !== uid;
    } catch {
      return false; // Closed.
    }
  });
}

function launchOf(
  { spec, rootfs, path }: Bundle,
  options: CreateOptions,
  execDirectory: string,
  terminal: BundleTerminal | undefined,
): BundleLaunch {
  const { id, foreground } = options;
  const rootless = rootlessCaller();
  checkRootless(spec, rootless);
  const hooks = spec.hooks ?? {};
  const asked = (["prestart", "createRuntime", "createContainer", "startContainer"] as const).some(
    (name) => (hooks[name]?.length ?? 0) > 0,
  );
  return {
    id,
    spec: withDeviceAccess(withAbsoluteSources(spec, path)),
    rootfs: { kind: "directory", path: rootfs },
    cgroups: readCgroupLayout(),
    sandbox: { host: [], container: [], sysctls: {} },
    execDirectory,
    bundle: path,
    host: hostFor(spec, readHostFacts()),
    ...(rootless && { rootless }),
    ...(terminal && { terminal }),
    giveStdio:
      terminal === undefined ? stdioToGive(ownerOnHost(spec, spec.process?.user?.uid ?? 0, rootless)) : [],
    nullStdio: terminal === undefined ? nullStdio() : [],
    preserveFds: options.preserveFds,
    ask: { forked: false, mounted: asked },
    noPivot: options.noPivot,
    noNewKeyring: options.noNewKeyring,
    supervise: foreground && terminal === undefined,
  };
}

interface Attempt {
  bundle: Bundle;
  launch: BundleLaunch;
  owner: CgroupPlacement;
  compiled: CompiledLaunch;
  options: CreateOptions;
}

async function launchContainer(states: StateDirectory, attempt: Attempt): Promise<CreatedContainer> {
  const { bundle, launch, owner, compiled, options } = attempt;
  const directory = states.path(options.id);
  for (const name of Object.values(HOOK_STATE)) writeFileSync(join(directory, name), "", { mode: 0o600 });
  const describe = (pid: number): StoredContainer => ({
    id: options.id,
    pid,
    startTicks: readStartTicks(pid) ?? "",
    bundle: bundle.path,
    rootfs: bundle.rootfs,
    created: new Date().toISOString(),
    spec: bundle.spec,
    cgroupOwner: owner,
    resources: launch.spec.linux?.resources ?? {},
    labels: [...compiled.program.labels],
    execveInstructions: compiled.execveInstructions,
  });
  // So that whatever happens to this process, it is known what there is to give back.
  states.save({ ...describe(0), startTicks: "" });
  const run = runLauncher({
    launcherPath: launcherPath(),
    program: compiled.program,
    preserveFds: launch.preserveFds,
    exitFile: compiled.exitFile,
  });
  const asked = answerQuestions(run, launch, describe);
  let pid: number;
  try {
    pid = await Promise.race([run.shim.started, asked]);
  } catch (cause) {
    run.shim.close();
    await run.ended;
    throw explainRuntimeFailure(compiled, cause, bundle.spec.process?.args?.[0] ?? "");
  }
  const container = describe(pid);
  states.save(container);
  if (options.pidFile !== undefined) writePidFile(options.pidFile, pid);
  return { container, run };
}

/** What the program asks this side to do. Settles only when that fails. */
function answerQuestions(
  run: LauncherRun,
  launch: BundleLaunch,
  describe: (pid: number) => StoredContainer,
): Promise<never> {
  const answers: Record<number, (container: StoredContainer) => Promise<void>> = {
    [BUNDLE_NOTE.FORKED]: (container) => makeScope(launch, container),
    [BUNDLE_NOTE.UNMAPPED]: ({ pid }) =>
      mapByTools(pid, {
        uidMappings: launch.spec.linux?.uidMappings ?? [],
        gidMappings: launch.spec.linux?.gidMappings ?? [],
      }),
    [BUNDLE_NOTE.MOUNTED]: (container) => runEarlyHooks(launch.execDirectory, container),
  };
  return new Promise((_, reject) => {
    run.shim.onNote((kind, value) => {
      answers[kind]?.(describe(Number(value)))
        .then(() => run.proceed())
        .catch(reject);
    });
  });
}

/** systemd makes a group around a process that exists. */
async function makeScope(
  launch: BundleLaunch,
  { id, pid, cgroupOwner, spec }: StoredContainer,
): Promise<void> {
  if (cgroupOwner.unit === undefined) return;
  await createScope({
    unit: cgroupOwner.unit,
    pid,
    id,
    resources: launch.spec.linux?.resources,
    annotations: spec.annotations,
    cgroupVersion: launch.cgroups.version,
  });
}

/** Those of the runtime's namespaces; and the state is laid out for those inside the container. */
async function runEarlyHooks(directory: string, container: StoredContainer): Promise<void> {
  const creating = ociState(container, "creating");
  const files = {
    [HOOK_STATE.creating]: creating,
    [HOOK_STATE.created]: ociState(container, "created"),
  };
  for (const [name, state] of Object.entries(files)) {
    writeFileSync(join(directory, name), JSON.stringify(state));
  }
  await runHooks(container.spec, "prestart", creating);
  await runHooks(container.spec, "createRuntime", creating);
}

/** Does this process lack root's rights over the host? */
export function isRootless(): boolean {
  return rootlessCaller() !== undefined;
}

/** Never seen half written. */
export function writePidFile(path: string, pid: number): void {
  const temporary = join(dirname(path), `.${basename(path)}`);
  writeFileSync(temporary, String(pid), { mode: 0o666 });
  renameSync(temporary, path);
}
