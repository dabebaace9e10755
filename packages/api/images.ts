/** Image operations: pull, import and load as streams of progress; list, inspect, history, tag and remove. */
import { BerthError } from "#errors/errors.ts";
import { imageInspect, imageSummary } from "./image-answers.ts";
import { ProgressStream } from "./json-stream.ts";
import { platformText } from "./platform-parameter.ts";
import { decodeRegistryAuth } from "./registry-auth.ts";
import { sendEmpty, sendJson } from "./reply.ts";
import { type Handlers, nameOf, type RequestContext } from "./request-context.ts";
import { atLeast } from "./versions.ts";

export const imageHandlers: Handlers = {
  async ImageCreate(context) {
    if (context.query.text("fromImage") !== "") await pull(context);
    else await importArchive(context);
  },

  async ImageList(context) {
    const { engine, query, version } = context;
    const filters = context.filters();
    // The older form of the filter by reference.
    const name = atLeast(version, "1.41") ? "" : query.text("filter");
    if (name !== "") filters.reference = [...(filters.reference ?? []), name];
    const images = await engine.images.list({
      all: query.flag("all"),
      filters,
      sharedSize: query.flag("shared-size"),
      // Only counted since then.
      ...(atLeast(version, "1.51") && {
        containers: (id: string) => engine.containers.imageUsers(id).length,
      }),
    });
    const shown = images.map((image) => imageSummary(image, version));
    sendJson(context.response, 200, shown);
  },

  async ImageInspect(context) {
    const platform = platformText(context.query.text("platform"), "inspect image");
    const image = await context.engine.images.inspect(nameOf(context), platform);
    sendJson(context.response, 200, imageInspect(image, context.version));
  },

  async ImageHistory(context) {
    const platform = platformText(context.query.text("platform"), "image history");
    sendJson(context.response, 200, await context.engine.images.history(nameOf(context), platform));
  },

  ImageTag(context) {
    const { engine, query, response } = context;
    engine.images.tag(nameOf(context), query.text("repo"), query.text("tag"));
    sendEmpty(response, 201);
  },

  async ImageDelete(context) {
    const { engine, query, response } = context;
    const [platform = "", ...more] = query.texts("platforms");
    if (more.length > 0) {
      throw new BerthError("invalid", "an image is for one platform: more than one is given", {
        operation: "remove image",
        object: nameOf(context),
      });
    }
    const items = await engine.images.remove(nameOf(context), {
      force: query.flag("force"),
      noPrune: query.flag("noprune"),
      platform: platformText(platform, "remove image"),
      inUse: (id) => engine.containers.imageUsers(id),
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
      allTags: true,
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
  const repository = query.text("repo");
  const tag = query.text("tag");
  await streamProgress(context, async (progress) => {
    const id = await engine.images.importArchive(body.stream(), {
      reference: repository === "" ? undefined : tag === "" ? repository : `${repository}:${tag}`,
      message: query.text("message") || `Imported from ${source}`,
      changes: query.texts("changes"),
      platform: query.text("platform"),
      ...(source === "-" ? {} : { address: source }),
      report: (message) => progress.report(message),
      signal,
    });
    progress.report({ status: id });
  });
}

/** Answers with what `work` reports, as it comes. */
export async function streamProgress(
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
