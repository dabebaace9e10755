/** Files of containers: changes, archives out and in, export, commit. */

import { formatNanoseconds } from "#engine/timestamps.ts";
import { BerthError } from "#errors/errors.ts";
import type { PathStatus } from "#storage/files/root-types.ts";
import { sendBody } from "./body-output.ts";
import { containerCreateShape } from "./container-shapes.ts";
import { sendEmpty, sendJson } from "./reply.ts";
import { type Handlers, nameOf, type RequestContext } from "./request-context.ts";

const statHeader = "X-Docker-Container-Path-Stat";

export const containerFileHandlers: Handlers = {
  async ContainerChanges(context) {
    const changes = await context.engine.files.changes(nameOf(context));
    // Docker's null for none.
    const body = changes.map(({ path, kind }) => ({ Path: path, Kind: kind }));
    sendJson(context.response, 200, body.length === 0 ? null : body);
  },

  async ContainerArchiveInfo(context) {
    const status = await context.engine.files.stat(nameOf(context), pathOf(context));
    context.response.setHeader(statHeader, encodeStatus(status));
    context.response.writeHead(200);
    context.response.end();
  },

  async ContainerArchive(context) {
    using archive = await context.engine.files.archive(nameOf(context), pathOf(context));
    const headers = { "Content-Type": "application/x-tar", [statHeader]: encodeStatus(archive.status) };
    await sendBody(context, headers, (output) => archive.send(output, context.signal));
  },

  async PutContainerArchive(context) {
    const { query, body, signal } = context;
    await context.engine.files.extract(
      nameOf(context),
      pathOf(context),
      body.stream(),
      { copyOwner: query.flag("copyUIDGID"), keepKinds: query.flag("noOverwriteDirNonDir") },
      signal,
    );
    sendEmpty(context.response, 200);
  },

  async ContainerExport(context) {
    using archive = await context.engine.files.export(nameOf(context));
    const headers = { "Content-Type": "application/octet-stream" };
    await sendBody(context, headers, (output) => archive.send(output, context.signal));
  },

  async ImageCommit(context) {
    const { query, response } = context;
    const given = await context.json(containerCreateShape, { optional: true });
    const { HostConfig: _host, NetworkingConfig: _networks, ...config } = given;
    const id = await context.engine.files.commit(query.text("container"), {
      repository: query.text("repo"),
      tag: query.text("tag"),
      author: query.text("author"),
      comment: query.text("comment"),
      pause: query.flag("pause", true),
      changes: query.texts("changes"),
      config: Object.keys(config).length === 0 ? undefined : config,
    });
    sendJson(response, 201, { Id: id });
  },
};

/** What the kernel takes for a path, in bytes. */
const PATH_LIMIT = 4095;

function pathOf(context: RequestContext): string {
  const path = context.query.text("path");
  const operation = "read query";
  if (path === "") throw new BerthError("invalid", "bad parameter: pathcannot be empty", { operation });
  if (path.includes("\0")) throw new BerthError("invalid", "bad parameter: path contains NUL", { operation });
  if (Buffer.byteLength(path) <= PATH_LIMIT) return path;
  // Nothing can be opened by such a name. To follow its parts one by one takes long where they are very many.
  const name = nameOf(context);
  throw new BerthError("not-found", `Could not find the file ${path} in container ${name}`, {
    operation: "find file",
    object: path,
  });
}

function encodeStatus({ name, size, mode, modifiedAt, linkTarget }: PathStatus): string {
  const mtime = formatNanoseconds(modifiedAt);
  return Buffer.from(JSON.stringify({ name, size, mode, mtime, linkTarget })).toString("base64");
}
