/** Network operations. */
import type {
  IpamConfig,
  NetworkConnectRequest,
  NetworkCreateRequest,
  NetworkDisconnectRequest,
  NetworkResource,
} from "#api-types/network.ts";
import type { Filters } from "#engine/engine-types.ts";
import { BerthError } from "#errors/errors.ts";
import { endpointSettings } from "./container-shapes.ts";
import { sendEmpty, sendJson } from "./reply.ts";
import { type Handlers, nameOf } from "./request-context.ts";
import { boolean, list, map, nullable, object, text } from "./shape.ts";

const textMap = nullable(map(text));

const createShape = object<NetworkCreateRequest>({
  Name: text,
  CheckDuplicate: boolean,
  Driver: text,
  Scope: text,
  EnableIPv4: nullable(boolean),
  EnableIPv6: nullable(boolean),
  IPAM: nullable(
    object<NonNullable<NetworkCreateRequest["IPAM"]>>({
      Driver: text,
      Options: textMap,
      Config: nullable(
        list(object<IpamConfig>({ Subnet: text, IPRange: text, Gateway: text, AuxiliaryAddresses: textMap })),
      ),
    }),
  ),
  Internal: boolean,
  Attachable: boolean,
  Ingress: boolean,
  ConfigOnly: boolean,
  ConfigFrom: nullable(object<{ Network?: string }>({ Network: text })),
  Options: textMap,
  Labels: textMap,
});

const connectShape = object<NetworkConnectRequest>({
  Container: text,
  EndpointConfig: nullable(endpointSettings),
});

const disconnectShape = object<NetworkDisconnectRequest>({ Container: text, Force: boolean });

export const networkHandlers: Handlers = {
  NetworkList(context) {
    const networks = filterNetworks(context.engine.networks.list(), context.filters());
    // Who is on a network is for inspect to tell.
    sendJson(
      context.response,
      200,
      networks.map((network) => ({ ...network, Containers: {} })),
    );
  },

  NetworkInspect(context) {
    const network = context.engine.networks.inspect(nameOf(context));
    const scope = context.query.text("scope");
    if (scope !== "" && scope !== network.Scope) {
      throw new BerthError("not-found", `network ${nameOf(context)} not found`, {
        operation: "inspect network",
        object: nameOf(context),
      });
    }
    sendJson(context.response, 200, network);
  },

  async NetworkCreate(context) {
    const request = await context.json(createShape);
    sendJson(context.response, 201, await context.engine.networks.create(request));
  },

  async NetworkDelete(context) {
    await context.engine.networks.remove(nameOf(context));
    sendEmpty(context.response, 204);
  },

  async NetworkConnect(context) {
    await context.engine.networks.connect(nameOf(context), await context.json(connectShape));
    sendEmpty(context.response, 200);
  },

  async NetworkDisconnect(context) {
    await context.engine.networks.disconnect(nameOf(context), await context.json(disconnectShape));
    sendEmpty(context.response, 200);
  },
};

const builtIn = new Set(["bridge", "host", "none"]);

type Test = (network: NetworkResource, value: string) => boolean;

/** Docker's network filters; a network has to pass each, by any of its values. */
const tests: Readonly<Record<string, Test>> = {
  id: (network, value) => network.Id.includes(value),
  name: (network, value) => network.Name.includes(value),
  driver: (network, value) => network.Driver === value,
  scope: (network, value) => network.Scope === value,
  type: (network, value) => builtIn.has(network.Name) === (value === "builtin"),
  dangling: (network, value) =>
    (!builtIn.has(network.Name) && Object.keys(network.Containers).length === 0) === truths[value],
};

/** What Docker takes for a yes or a no in a filter. */
const truths: Readonly<Record<string, boolean>> = { true: true, "1": true, false: false, "0": false };

/** Throws "invalid" for a filter that doesn't exist or a value it doesn't know. */
export function filterNetworks(networks: NetworkResource[], filters: Filters): NetworkResource[] {
  for (const [name, values] of Object.entries(filters)) {
    if (name !== "label" && !Object.hasOwn(tests, name)) throw invalid(`invalid filter '${name}'`);
    if (name === "dangling" && !values.every((value) => Object.hasOwn(truths, value))) {
      throw invalid(`invalid filter 'dangling=[${values.join(" ")}]'`);
    }
    if (name === "type" && !values.every((value) => value === "custom" || value === "builtin")) {
      throw invalid(`invalid filter: 'type'='${values.join(",")}'`);
    }
  }
  return networks.filter((network) =>
    Object.entries(filters).every(([name, values]) => {
      if (name === "label") return values.every((value) => hasLabel(network.Labels, value));
      return values.length === 0 || values.some((value) => tests[name]?.(network, value));
    }),
  );
}

function hasLabel(labels: Record<string, string>, wanted: string): boolean {
  const at = wanted.indexOf("=");
  if (at < 0) return Object.hasOwn(labels, wanted);
  const key = wanted.slice(0, at);
  return Object.hasOwn(labels, key) && labels[key] === wanted.slice(at + 1);
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "list networks" });
}
