/** What concerns registries rather than images here: push, search, look at a name's manifest. */
import { streamProgress } from "./images.ts";
import { platformText } from "./platform-parameter.ts";
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
        platform: platformText(query.text("platform"), "push image"),
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
