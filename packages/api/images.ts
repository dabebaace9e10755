/** Image operations: pull, import and load as streams of progress; list, inspect, history, tag and remove. */
import type { ImageInspect, ImageSummary } from "#api-types/image.ts";
import type { Engine } from "#engine/engine-types.ts";
import { BerthError } from "#errors/errors.ts";
import { ProgressStream } from "./json-stream.ts";
import { decodeRegistryAuth } from "./registry-auth.ts";
import { sendEmpty, sendJson } from "./reply.ts";
import { type Handlers, nameOf, type RequestContext } from "./request-context.ts";
import { atLeast } from "./versions.ts";

export const imageHandlers: Handlers = {
  async ImageCreate(context) {
    if (context.query.text("fromImage") !== "") await pull(context);
    else await importArchive(context);
  },

  async ImageLoad(context) {
    const { engine, query, body, signal } = context;
    await streamProgress(context, (progress) =>
      engine.images.load(body.stream(), {
        quiet: query.flag("quiet", true),
        report: (message) => progress.report(message),
        signal,
      }),
    );
  },

  async ImageList(context) {
    const images = await context.engine.images.list({
      all: context.query.flag("all"),
      filters: context.filters(),
    });
    sendJson(
      context.response,
      200,
      images.map((image) => gateSize(context, image)),
    );
  },

  async ImageInspect(context) {
    const image = await context.engine.images.inspect(nameOf(context));
    sendJson(context.response, 200, gateSize(context, image));
  },

  async ImageHistory(context) {
    sendJson(context.response, 200, await context.engine.images.history(nameOf(context)));
  },

  ImageTag(context) {
    const { engine, query, response } = context;
    engine.images.tag(nameOf(context), query.text("repo"), query.text("tag"));
    sendEmpty(response, 201);
  },

  async ImageDelete(context) {
    const { engine, query, response } = context;
    const items = await engine.images.remove(nameOf(context), {
      force: query.flag("force"),
      noPrune: query.flag("noprune"),
      inUse: await usersOfImages(engine),
    });
    sendJson(response, 200, items);
  },
};

async function pull(context: RequestContext): Promise<void> {
  const { engine, query, request, signal } = context;
  const auth = decodeRegistryAuth(request.headers["x-registry-auth"]);
  await streamProgress(context, (progress) =>
    engine.images.pull({
      name: query.text("fromImage"),
      tag: query.text("tag"),
      platform: query.text("platform"),
      ...(auth === undefined ? {} : { auth }),
      report: (message) => progress.report(message),
      signal,
    }),
  );
}

async function importArchive(context: RequestContext): Promise<void> {
  const { engine, query, body, signal } = context;
  const source = query.text("fromSrc");
  if (source === "") {
    throw new BerthError("invalid", "neither fromImage nor fromSrc is given", { operation: "create image" });
  }
  if (source !== "-") {
    throw new BerthError("not-implemented", "import from an address is not implemented in this Berth", {
      operation: "import image",
      object: source,
      hint: "Fetch the archive yourself and import it from standard input.",
    });
  }
  const repository = query.text("repo");
  const tag = query.text("tag");
  await streamProgress(context, async (progress) => {
    const id = await engine.images.importArchive(body.stream(), {
      reference: repository === "" ? undefined : tag === "" ? repository : `${repository}:${tag}`,
      message: query.text("message"),
      changes: query.texts("changes"),
      platform: query.text("platform"),
      report: (message) => progress.report(message),
      signal,
    });
    progress.report({ status: id });
  });
}

async function streamProgress(
  context: RequestContext,
  work: (progress: ProgressStream) => Promise<void>,
): Promise<void> {
  const progress = new ProgressStream(context.response);
  try {
    await work(progress);
    progress.end();
  } catch (error) {
    progress.fail(error, context.logger, context.operation);
  }
}

/** VirtualSize was always the size; it left the API with 1.44. */
function gateSize<T extends ImageInspect | ImageSummary>(context: RequestContext, image: T): T {
  const { VirtualSize: _, ...rest } = image;
  return (atLeast(context.version, "1.44") ? rest : { ...rest, VirtualSize: image.Size }) as T;
}

type ImageUsers = (imageId: string) => { id: string; running: boolean }[];

async function usersOfImages(engine: Engine): Promise<ImageUsers> {
  const containers = await engine.containers.list({ all: true, limit: 0, size: false, filters: {} });
  const byImage = Map.groupBy(containers, (container) => container.ImageID);
  return (imageId) =>
    (byImage.get(imageId) ?? []).map((container) => ({
      id: container.Id.slice(0, 12),
      running: ["running", "paused", "restarting"].includes(container.State),
    }));
}
