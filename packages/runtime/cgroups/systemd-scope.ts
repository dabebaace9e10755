/**
 * Control groups by systemd: a transient scope around the container's first process, asked for over D-Bus. systemd makes
 * the group, moves the process, and takes the group away with the unit.
 *
 * The system's service manager is asked on the system bus, or on its own socket where there is no bus; a user's on the
 * session bus.
 */
import { existsSync, readFileSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import type { ScopeUnit } from "#runtime/cgroups/container-cgroup.ts";
import type { DbusValue, DbusVariant } from "#runtime/cgroups/dbus-codec.ts";
import { type DbusCall, DbusConnection, DbusError } from "#runtime/cgroups/dbus-connection.ts";
import { resourceProperties, type Systemd, scopeProperties } from "#runtime/cgroups/systemd-properties.ts";
import type { SpecResources } from "#runtime/spec-types.ts";

const SERVICE = "org.freedesktop.systemd1";
const MANAGER = {
  destination: SERVICE,
  path: "/org/freedesktop/systemd1",
  interface: `${SERVICE}.Manager`,
};
const SYSTEM_BUS = "/run/dbus/system_bus_socket";
const PRIVATE_SOCKET = "/run/systemd/private";
/** A job that takes longer than that has hung. */
const JOB_MS = 30_000;

export interface ScopeRequest {
  unit: ScopeUnit;
  /** Host pid of the process that the scope is made around. */
  pid: number;
  id: string;
  resources: SpecResources | undefined;
  annotations: Readonly<Record<string, string>> | undefined;
  cgroupVersion: 1 | 2;
}

/** Resolves when the unit is there and the process in it. Throws "unavailable" without systemd. */
export async function createScope(request: ScopeRequest): Promise<void> {
  const { unit, pid, id, resources = {}, annotations, cgroupVersion } = request;
  await using manager = await openManager(unit.user);
  const properties = [
    ...scopeProperties(unit, pid, id, annotations),
    ...resourceProperties(
      unit.user ? { ...resources, devices: [] } : resources,
      await manager.facts(cgroupVersion),
    ),
  ];
  const start = () =>
    manager.job("StartTransientUnit", "ssa(sv)a(sa(sv))", [
      unit.name,
      "replace",
      properties as DbusValue[],
      [],
    ]);
  let result: string;
  try {
    result = await start();
  } catch (error) {
    if (!isRefusal(error, "UnitExists")) throw explained(error, unit, "start");
    // Most likely one that has failed and is kept to be looked at.
    await manager.resetFailed(unit.name);
    result = await start().catch((again) => {
      throw explained(again, unit, "start");
    });
  }
  if (result === "done") return;
  await manager.resetFailed(unit.name);
  throw new BerthError("internal", `error creating systemd unit ${unit.name}: got ${result}`, {
    operation: "start systemd unit",
    object: unit.name,
    hint: `see: journalctl -u ${unit.name}`,
  });
}

/** Resolves when the unit has gone; also when there was none. */
export async function stopScope(unit: ScopeUnit): Promise<void> {
  await using manager = await openManager(unit.user);
  try {
    await manager.job("StopUnit", "ss", [unit.name, "replace"]);
  } catch (error) {
    if (!isRefusal(error, "NoSuchUnit")) throw explained(error, unit, "stop");
  }
  // A unit that has failed is kept until it is told otherwise.
  await manager.resetFailed(unit.name);
}

/** Changes limits of a running scope. What has no property is the caller's to write. */
export async function updateScope(
  unit: ScopeUnit,
  resources: SpecResources,
  cgroupVersion: 1 | 2,
): Promise<void> {
  await using manager = await openManager(unit.user);
  const properties = resourceProperties(resources, await manager.facts(cgroupVersion));
  if (properties.length === 0) return;
  try {
    await manager.call("SetUnitProperties", "sba(sv)", [unit.name, true, properties as DbusValue[]]);
  } catch (error) {
    throw explained(error, unit, "change");
  }
}

/** The group of the user's own service manager: "/user.slice/user-1000.slice/user@1000.service". */
export async function userManagerGroup(): Promise<string> {
  await using manager = await openManager(true);
  return String(await manager.property("ControlGroup"));
}

class Manager implements AsyncDisposable {
  readonly #connection: DbusConnection;
  /** Of jobs that have ended, with their results: the signal may come before the answer that names the job. */
  readonly #ended = new Map<DbusValue, string>();
  #subscribed: Promise<unknown> | undefined;
  #onEnd: () => void = () => undefined;

  constructor(connection: DbusConnection) {
    this.#connection = connection;
    connection.onSignal(({ member, body }) => {
      if (member !== "JobRemoved") return;
      const [, job = "", , result] = body;
      this.#ended.set(job, String(result));
      this.#onEnd();
    });
  }

  async call(member: string, signature: string, body: readonly DbusValue[]): Promise<DbusValue[]> {
    return await this.#connection.call({ ...MANAGER, member, ...(signature && { signature }), body });
  }

  async property(name: string): Promise<DbusValue> {
    const call: DbusCall = { ...MANAGER, interface: "org.freedesktop.DBus.Properties", member: "Get" };
    const [value] = await this.#connection.call({
      ...call,
      signature: "ss",
      body: [MANAGER.interface, name],
    });
    return (value as DbusVariant).value;
  }

  async facts(cgroupVersion: 1 | 2): Promise<Systemd> {
    const text = String(await this.property("Version").catch(() => ""));
    const version = Number(/\d+/.exec(text)?.[0] ?? 0);
    return { version, cgroupVersion, procDevices: readFileSync("/proc/devices", "utf8") };
  }

  /** Calls what begins a job, and answers that job's result: "done", "failed", "timeout", … */
  async job(member: string, signature: string, body: readonly DbusValue[]): Promise<string> {
    this.#subscribed ??= this.#subscribe();
    await this.#subscribed;
    const [job = ""] = await this.call(member, signature, body);
    const { promise, resolve } = Promise.withResolvers<string>();
    const timer = setTimeout(() => resolve("timeout"), JOB_MS);
    this.#onEnd = () => {
      const result = this.#ended.get(job);
      if (result !== undefined) resolve(result);
    };
    this.#onEnd();
    return await Promise.race([promise, this.#connection.failure]).finally(() => clearTimeout(timer));
  }

  async resetFailed(name: string): Promise<void> {
    // There mostly is nothing to reset, which is an error to systemd.
    await this.call("ResetFailedUnit", "s", [name]).catch(() => undefined);
  }

  async #subscribe(): Promise<void> {
    const rule = `type='signal',interface='${MANAGER.interface}',member='JobRemoved'`;
    await this.#connection.match(rule);
    await this.call("Subscribe", "", []).catch((error) => {
      if (!isRefusal(error, "AlreadySubscribed")) throw error;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection[Symbol.asyncDispose]();
  }
}

async function openManager(user: boolean): Promise<Manager> {
  const bus = socketPath(user ? process.env.DBUS_SESSION_BUS_ADDRESS : process.env.DBUS_SYSTEM_BUS_ADDRESS);
  const runtime = process.env.XDG_RUNTIME_DIR;
  const usual = user ? runtime && `${runtime}/bus` : SYSTEM_BUS;
  const ways: { path: string; bus: boolean }[] = [
    ...(bus ? [{ path: bus, bus: true }] : usual ? [{ path: usual, bus: true }] : []),
    ...(!user && !bus ? [{ path: PRIVATE_SOCKET, bus: false }] : []),
  ].filter(({ path }) => path.startsWith("\0") || existsSync(path));
  let cause: unknown;
  for (const way of ways) {
    try {
      return new Manager(await DbusConnection.open(way.path, way));
    } catch (error) {
      cause = error;
    }
  }
  throw new BerthError(
    "unavailable",
    "systemd cgroup flag passed, but systemd support for managing cgroups is not available",
    {
      operation: "reach systemd",
      hint: user
        ? "the user's service manager is not running here: see loginctl enable-linger"
        : "leave out --systemd-cgroup where systemd does not run",
      ...(cause !== undefined && { cause }),
    },
  );
}

/** Of "unix:path=/run/x,guid=…;…", the first that is a socket of the file system or an abstract one. */
export function socketPath(addresses: string | undefined): string | undefined {
  for (const address of addresses?.split(";") ?? []) {
    const [, kind, text] = /^unix:(?:.*,)?(path|abstract)=([^,]+)/.exec(address) ?? [];
    if (text !== undefined) return `${kind === "abstract" ? "\0" : ""}${decodeURIComponent(text)}`;
  }
  return undefined;
}

function isRefusal(error: unknown, name: string): boolean {
  return error instanceof DbusError && error.errorName === `${SERVICE}.${name}`;
}

function explained(error: unknown, unit: ScopeUnit, what: string): unknown {
  if (!(error instanceof DbusError)) return error;
  return new BerthError("internal", `unable to ${what} unit ${unit.name}: ${error.message}`, {
    operation: `${what} systemd unit`,
    object: unit.name,
    cause: error,
  });
}
