/** `docker ps --filter` and `docker container prune --filter`. */
import type { Container } from "#engine/containers/container.ts";
import type { ContainerStore } from "#engine/containers/container-store.ts";
import type { Filters } from "#engine/engine-types.ts";
import { BerthError } from "#errors/errors.ts";
import { durationOf } from "#go-values/duration.ts";
import { ExpressionError, expressionTest } from "#go-values/expression.ts";

type Test = (container: Container) => boolean;

/** A test that all filter names must pass; values of one name are alternatives (labels must all hold). */
export function containerFilter(filters: Filters, store: ContainerStore): Test {
  const tests = Object.entries(filters).map(([name, values]) => {
    const each = values.map((value) => singleTest(name, value, store));
    return name === "label" || name === "label!"
      ? (container: Container) => each.every((test) => test(container))
      : (container: Container) => each.length === 0 || each.some((test) => test(container));
  });
  return (container) => tests.every((test) => test(container));
}

/** Do these filters ask for containers that do not run? Then `ps` shows all without `-a`. */
export function asksForStopped(filters: Filters): boolean {
  return filters.status !== undefined || filters.exited !== undefined;
}

const HEALTHS = ["none", "starting", "healthy", "unhealthy"];
const STATUSES = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];

function singleTest(name: string, value: string, store: ContainerStore): Test {
  switch (name) {
    case "id":
      return ({ id }) => id.startsWith(value);
    case "name": {
      const matches = nameTest(value);
      return ({ record }) => matches(record.name) || matches(`/${record.name}`);
    }
    case "label":
    case "label!": {
      const at = value.indexOf("=");
      const key = at < 0 ? value : value.slice(0, at);
      const wanted = at < 0 ? undefined : value.slice(at + 1);
      const has: Test = ({ record }) => {
        const labels = record.config.Labels ?? {};
        return key in labels && (wanted === undefined || labels[key] === wanted);
      };
      return name === "label" ? has : (container) => !has(container);
    }
    case "status":
      if (!STATUSES.includes(value)) throw invalid(name, value);
      return ({ record }) => record.state.Status === value;
    case "exited": {
      const code = Number(value);
      if (!Number.isInteger(code)) throw invalid(name, value);
      return ({ record }) => record.state.Status === "exited" && record.state.ExitCode === code;
    }
    case "ancestor":
      return ({ record }) =>
        record.imageName === value ||
        record.imageName.replace(/:latest$/, "") === value ||
        record.imageId === value ||
        record.imageId.replace("sha256:", "").startsWith(value);
    case "before": {
      const limit = Date.parse(store.get(value).record.created);
      return ({ record }) => Date.parse(record.created) < limit;
    }
    case "since": {
      const limit = Date.parse(store.get(value).record.created);
      return ({ record }) => Date.parse(record.created) > limit;
    }
    case "volume":
      return ({ record }) =>
        record.mounts.some(
          (mount) => mount.volume === value || mount.source === value || mount.destination === value,
        );
    case "network":
      return ({ record }) =>
        record.hostConfig.NetworkMode === value ||
        value in record.endpoints ||
        Object.values(record.endpoints).some(({ NetworkID }) => NetworkID === value);
    case "publish":
    case "expose": {
      const wanted = portsOf(name, value);
      return ({ record }) => {
        const ports = name === "publish" ? record.hostConfig.PortBindings : record.config.ExposedPorts;
        return Object.keys(ports ?? {}).some(wanted);
      };
    }
    case "health":
      if (!HEALTHS.includes(value)) {
        throw new BerthError("invalid", `Unrecognised filter value for health: ${value}`, {
          operation: "list containers",
          object: value,
        });
      }
      return ({ record }) => (record.state.Health?.Status ?? "none") === value;
    case "is-task":
      return () => value === "false" || value === "0";
    case "until": {
      const limit = untilMilliseconds(value);
      return ({ record }) => Date.parse(record.created) < limit;
    }
    default:
      throw new BerthError("invalid", `invalid filter '${name}'`, {
        operation: "list containers",
        object: name,
      });
  }
}

/** "80", "80/udp" or "80-90/tcp" as a test of "80/tcp". Throws "invalid". */
function portsOf(filter: string, value: string): (port: string) => boolean {
  const parsed = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp|sctp))?$/.exec(value);
  const [first, last] = [Number(parsed?.[1]), Number(parsed?.[2] ?? parsed?.[1])];
  if (parsed === null || last < first || last > 65_535) {
    throw new BerthError(
      "invalid",
      `error while looking up for ${filter} ${value}: invalid port specification`,
      {
        operation: "list containers",
        object: value,
      },
    );
  }
  return (port) => {
    const [number = "", protocol = "tcp"] = port.split("/");
    return Number(number) >= first && Number(number) <= last && protocol === (parsed[3] ?? "tcp");
  };
}

/** Names are matched as regular expressions, as dockerd does; one that is none matches literally. */
function nameTest(pattern: string): (name: string) => boolean {
  try {
    return expressionTest(pattern);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    return (name) => name.includes(pattern);
  }
}

/** A moment: seconds since the epoch, an RFC 3339 time, or how long ago as a Go duration ("1h30m"). */
export function untilMilliseconds(value: string): number {
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value) * 1000;
  const ago = durationOf(value);
  if (ago !== undefined) return Date.now() - ago / 1e6;
  const time = Date.parse(value);
  if (Number.isNaN(time)) throw invalid("until", value);
  return time;
}

function invalid(name: string, value: string): BerthError {
  return new BerthError("invalid", `invalid filter '${name}=${value}'`, {
    operation: "list containers",
    object: name,
  });
}
