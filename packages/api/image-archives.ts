/** Images as archives: docker save and load. */
import { sendFromWorker } from "#engine/files/hand-over.ts";
import { BerthError } from "#errors/errors.ts";
import { sendBody } from "./body-output.ts";
import { streamProgress } from "./images.ts";
import { platformText } from "./platform-parameter.ts";
import { type Handlers, nameOf, type RequestContext } from "./request-context.ts";
import { atLeast } from "./versions.ts";

export const imageArchiveHandlers: Handlers = {
  async ImageGet(context) {
    await save(context, [nameOf(context)]);
  },

  async ImageGetAll(context) {
    await save(context, context.query.texts("names"));
  },

  async ImageLoad(context) {
    const { engine, query, body, signal } = context;
    const platform = requestedPlatform(context, "load image");
    await streamProgress(context, (progress) =>
      engine.images.load(body.stream(), {
        quiet: query.flag("quiet", true),
        platform,
        report: (message) => progress.report(message),
        signal,
      }),
    );
  },
};

/** One of them: the image has but one here. */
function requestedPlatform({ query, version }: RequestContext, operation: string): string {
  if (!atLeast(version, "1.48")) return "";
  const given = query.texts("platform");
  if (given.length < 2) return platformText(given[0] ?? "", operation);
  throw new BerthError("invalid", "multiple platform parameters not supported", { operation });
}

async function save(context: RequestContext, names: readonly string[]): Promise<void> {
  const { engine, signal } = context;
  const platform = requestedPlatform(context, "save image");
  await using archive = await engine.images.save({ names, platform });
  await sendBody(context, { "Content-Type": "application/x-tar" }, (output) =>
    sendFromWorker(output, (sink) => archive.write(sink, signal)),
  );
}
