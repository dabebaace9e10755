/**
 * Container operations that answer once; those that stream are in container-streams.ts and
 * takeover-handlers.ts.
 */
import type { ContainerInspect, ContainerSummary } from "#api-types/container.ts";
import { BerthError } from "#errors/errors.ts";
import { containerCreateShape, containerUpdateShape } from "./container-shapes.ts";
import { applyOldDefaults } from "./old-requests.ts";
import type { Query } from "./query.ts";
import { sendEmpty, sendJson, sendJsonText } from "./reply.ts";
import { type Handlers, nameOf } from "./request-context.ts";
import { type ApiVersion, atLeast } from "./versions.ts";

export const containerHandlers: Handlers = {
  async ContainerList({ engine, query, response, ...context }) {
    const containers = await engine.containers.list({
      all: query.flag("all"),
      limit: query.integer("limit") ?? 0,
      size: query.flag("size"),
      filters: context.filters(),
    });
    if (atLeast(context.version, "1.46")) sendJsonText(response, 200, containers);
    else sendJson(response, 200, withoutAnnotations(containers));
  },

  async ContainerCreate({ engine, query, response, version, ...context }) {
    const request = await context.json(containerCreateShape);
    if (Object.keys(request).every((key) => key === "HostConfig" || key === "NetworkingConfig")) {
      throw new BerthError("invalid", "config cannot be empty in order to create a container", {
        operation: "create container",
      });
    }
    applyOldDefaults(request, version);
    if (!atLeast(version, "1.44")) request.readOnlyMountAlone = true;
    const platform = atLeast(version, "1.41") ? query.text("platform") : "";
    sendJson(response, 201, await engine.containers.create(query.text("name"), request, platform));
  },

  async ContainerInspect(context) {
    const size = context.query.flag("size");
    const container = await context.engine.containers.inspect(nameOf(context), { size });
    const answer = atLeast(context.version, "1.45") ? container : withIdAsAlias(container);
    sendJson(context.response, 200, answer);
  },

  async ContainerStart(context) {
    const { length } = context.body;
    // "null" and "{}" and the like are let pass, as in dockerd.
    if (length === undefined || length > 7) {
      throw new BerthError(
        "invalid",
        "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        { operation: "start container", object: nameOf(context) },
      );
    }
    const checkpoint = context.query.text("checkpoint");
    if (checkpoint !== "" && !context.experimental) {
      throw new BerthError("invalid", "checkpoint is only supported in experimental mode", {
        operation: "start container",
        object: nameOf(context),
      });
    }
    await context.engine.containers.start(nameOf(context), { checkpoint });
    sendEmpty(context.response, 204);
  },

  async ContainerStop(context) {
    await context.engine.containers.stop(nameOf(context), stopOptions(context.query, context.version));
    sendEmpty(context.response, 204);
  },

  async ContainerRestart(context) {
    await context.engine.containers.restart(nameOf(context), stopOptions(context.query, context.version));
    sendEmpty(context.response, 204);
  },

  async ContainerKill(context) {
    await context.engine.containers.kill(nameOf(context), context.query.text("signal") || "SIGKILL");
    sendEmpty(context.response, 204);
  },

  async ContainerPause(context) {
    await context.engine.containers.pause(nameOf(context));
    sendEmpty(context.response, 204);
  },

  async ContainerUnpause(context) {
    await context.engine.containers.unpause(nameOf(context));
    sendEmpty(context.response, 204);
  },

  async ContainerRename(context) {
    await context.engine.containers.rename(nameOf(context), context.query.text("name"));
    sendEmpty(context.response, 204);
  },

  async ContainerUpdate(context) {
    const change = await context.json(containerUpdateShape);
    if (!atLeast(context.version, "1.40")) delete change.PidsLimit;
    const warnings = await context.engine.containers.update(nameOf(context), change);
    sendJson(context.response, 200, { Warnings: warnings.length > 0 ? warnings : null });
  },

  async ContainerDelete(context) {
    const { query } = context;
    await context.engine.containers.remove(nameOf(context), {
      force: query.flag("force"),
      volumes: query.flag("v"),
      link: query.flag("link"),
    });
    sendEmpty(context.response, 204);
  },

  async ContainerResize(context) {
    const { query } = context;
    await context.engine.containers.resize(nameOf(context), query.count("h"), query.count("w"));
    sendEmpty(context.response, 200);
  },

  async ContainerTop(context) {
    sendJson(
      context.response,
      200,
      await context.engine.containers.top(nameOf(context), context.query.text("ps_args")),
    );
  },
};

function stopOptions(query: Query, version: ApiVersion): { signal?: string; timeout?: number } {
  const options: { signal?: string; timeout?: number } = {};
  const signal = query.text("signal");
  if (signal !== "" && atLeast(version, "1.42")) options.signal = signal;
  const timeout = query.integer("t");
  if (timeout !== undefined) options.timeout = timeout;
  return options;
}

function withoutAnnotations(containers: string): unknown[] {
  const list = JSON.parse(containers) as ContainerSummary[];
  return list.map(({ HostConfig: { Annotations: _annotations, ...rest }, ...container }) => ({
    ...container,
    HostConfig: rest,
  }));
}

const ownNetworks = new Set(["bridge", "host", "none", "default"]);

/** Older clients look for the short id, which a container is also known by, among the aliases on users' networks. */
function withIdAsAlias(container: ContainerInspect): ContainerInspect {
  const { Id, Config, NetworkSettings } = container;
  const networks = Object.entries(NetworkSettings.Networks).map(([name, endpoint]) => {
    // It is known by nothing yet on one it has not joined.
    if (ownNetworks.has(name) || endpoint.NetworkID === "") return [name, endpoint];
    const aliases = new Set([...(endpoint.Aliases ?? []), Id.slice(0, 12), Config.Hostname ?? ""]);
    aliases.delete("");
    return [name, { ...endpoint, Aliases: [...aliases] }];
  });
  return { ...container, NetworkSettings: { ...NetworkSettings, Networks: Object.fromEntries(networks) } };
}
