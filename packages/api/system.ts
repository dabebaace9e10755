/** What the daemon says of itself: ping, version, info, disk usage; and the check of registry credentials. */
import type { ImageSummary, RegistryAuth } from "#api-types/image.ts";
import { BerthError } from "#errors/errors.ts";
import { imageSummary } from "./image-answers.ts";
import { sendJson } from "./reply.ts";
import type { Handlers, RequestContext } from "./request-context.ts";
import { object, text } from "./shape.ts";
import { infoAnswer } from "./system-answers.ts";
import { atLeast } from "./versions.ts";

const authShape = object<RegistryAuth>({
  username: text,
  password: text,
  auth: text,
  email: text,
  serveraddress: text,
  identitytoken: text,
  registrytoken: text,
});

const usageTypes = new Set(["container", "image", "volume", "build-cache"]);

export const systemHandlers: Handlers = {
  SystemPing: (context) => ping(context, "OK"),
  SystemPingHead: (context) => ping(context, ""),

  async SystemVersion({ engine, response, spoken, experimental }) {
    const version = await engine.system.version();
    const spokenFields = { ApiVersion: spoken.newest, MinAPIVersion: spoken.oldest };
    const components = Array.isArray(version.Components) ? (version.Components as unknown[]) : [];
    sendJson(response, 200, {
      ...version,
      ...spokenFields,
      ...(experimental && { Experimental: true }),
      Components: components.map((component) =>
        withSpoken(component, { ...spokenFields, Experimental: String(experimental) }),
      ),
    });
  },

  async SystemInfo({ engine, response, version }) {
    sendJson(response, 200, infoAnswer(await engine.system.info(), version));
  },

  async SystemDataUsage({ engine, query, response, version }) {
    const types = query.texts("type");
    const unknown = types.find((type) => !usageTypes.has(type));
    if (unknown !== undefined) {
      throw new BerthError("invalid", `unknown object type: ${unknown}`, { operation: "disk usage" });
    }
    const usage = await engine.system.diskUsage(types);
    const images = usage.Images as ImageSummary[] | null;
    sendJson(response, 200, {
      ...usage,
      Images: images?.map((image) => imageSummary(image, version)) ?? null,
      ...(!atLeast(version, "1.42") && { BuilderSize: 0 }),
    });
  },

  async SystemAuth(context) {
    const credentials = await context.json(authShape, { optional: true });
    sendJson(context.response, 200, await context.engine.system.authenticate({ ...credentials }));
  },
};

/** HEAD answers the same head as GET. */
function ping({ response }: RequestContext, text: string): void {
  response.writeHead(200, {
    "Builder-Version": "1",
    Swarm: "inactive",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    Pragma: "no-cache",
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Length": text.length,
  });
  response.end(text);
}

/** The CLI shows the API versions from the details of the component "Engine". */
function withSpoken(component: unknown, spoken: Record<string, string>): unknown {
  if (typeof component !== "object" || component === null) return component;
  const { Name, Details } = component as { Name?: unknown; Details?: object };
  if (Name !== "Engine") return component;
  return { ...component, Details: { ...Details, ...spoken } };
}
