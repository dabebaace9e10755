/** What concerns registries rather than images here: push, search, look at a name's manifest. */
import { BerthError } from "#errors/errors.ts";
import { streamProgress } from "./images.ts";
import { decodeRegistryAuth } from "./registry-auth.ts";
import { sendJson } from "./reply.ts";
import { type Handlers, nameOf } from "./request-context.ts";

export const registryHandlers: Handlers = {
  async ImagePush(context) {
    const { engine, query, request, signal } = context;
    const auth = decodeRegistryAuth(request.headers["x-registry-auth"]);
    await streamProgress(context, (progress) =>
      engine.images.push({
        name: nameOf(context),
        tag: query.text("tag"),
        platform: platformText(query.text("platform")),
        ...(auth === undefined ? {} : { auth }),
        report: (message) => progress.report(message),
        signal,
      }),
    );
  },

  async ImageSearch(context) {
    const { engine, query, request, signal } = context;
    const results = await engine.images.registries.search(
      {
        term: query.text("term"),
        limit: query.integer("limit") ?? 0,
        filters: context.filters(),
        auth: decodeRegistryAuth(request.headers["x-registry-auth"]),
      },
      signal,
    );
    sendJson(context.response, 200, results);
  },

  async DistributionInspect(context) {
    const { engine, request, signal } = context;
    const auth = decodeRegistryAuth(request.headers["x-registry-auth"]);
    sendJson(
      context.response,
      200,
      await engine.images.registries.distribution(nameOf(context), auth, signal),
    );
  },
};

/** The platform of a push comes as JSON (`{"os":"linux","architecture":"arm64"}`); "linux/arm64" is taken as well. */
function platformText(given: string): string {
  if (!given.trimStart().startsWith("{")) return given;
  try {
    const { os, architecture, variant } = JSON.parse(given) as Record<string, unknown>;
    return [os, architecture, variant].filter((part) => typeof part === "string" && part !== "").join("/");
  } catch (cause) {
    throw new BerthError("invalid", `failed to parse platform: ${(cause as Error).message}`, {
      operation: "push image",
      object: given,
      cause,
    });
  }
}
