/** Images as archives: docker save. */
import { sendFromWorker } from "#engine/files/hand-over.ts";
import { sendBody } from "./body-output.ts";
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
};

async function save(context: RequestContext, names: readonly string[]): Promise<void> {
  const { engine, query, version, signal } = context;
  const platform = atLeast(version, "1.48") ? platformText(query.text("platform"), "save image") : "";
  await using archive = await engine.images.save({ names, platform });
  await sendBody(context, { "Content-Type": "application/x-tar" }, (output) =>
    sendFromWorker(output, (sink) => archive.write(sink, signal)),
  );
}
