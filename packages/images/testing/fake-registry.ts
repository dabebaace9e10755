/**
 * A registry in memory, over real HTTP on loopback, that can be told to misbehave.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { BuiltImage } from "../archive-build.ts";
import { digestOf } from "../digest.ts";

/** Answers the request itself and says true, or leaves it to the registry. */
export type Fault = (request: IncomingMessage, response: ServerResponse) => boolean;

export class FakeRegistry {
  readonly blobs = new Map<string, Buffer>();
  /** By "repository:tag" and "repository@digest". */
  readonly manifests = new Map<string, { type: string; bytes: Buffer }>();
  readonly requests: string[] = [];
  /** Bytes of open uploads, by their number. */
  readonly uploads = new Map<string, Buffer>();
  /** Which repository may read which blob; empty: any may read all. */
  readonly linked = new Set<string>();
  fault: Fault = () => false;
  readonly #server: Server;
  host = "";

  constructor() {
    this.#server = createServer((request, response) => {
      this.requests.push(`${request.method} ${request.url}`);
      if (!this.fault(request, response)) this.serve(request, response);
    });
  }

  static async start(t: TestContext): Promise<FakeRegistry> {
    const registry = await FakeRegistry.listen();
    t.after(() => registry.stop());
    return registry;
  }

  /** For as long as the caller wants it: until `stop`. */
  static async listen(): Promise<FakeRegistry> {
    const registry = new FakeRegistry();
    await new Promise<void>((resolve) => registry.#server.listen(0, "127.0.0.1", resolve));
    registry.host = `127.0.0.1:${(registry.#server.address() as AddressInfo).port}`;
    return registry;
  }

  /** Serves the same over TLS as well; answers that host. */
  async listenSecurely(t: TestContext, identity: { key: Buffer; cert: Buffer }): Promise<string> {
    const server = createSecureServer(identity, (request, response) => this.serve(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Puts a blob; answers its descriptor. */
  put(bytes: Buffer, mediaType: string) {
    const digest = digestOf(bytes);
    this.blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  /** Puts a manifest under a name; answers its descriptor. */
  putManifest(repository: string, tag: string, type: string, document: unknown) {
    const bytes = Buffer.from(typeof document === "string" ? document : JSON.stringify(document));
    const digest = digestOf(bytes);
    this.manifests.set(`${repository}:${tag}`, { type, bytes });
    this.manifests.set(`${repository}@${digest}`, { type, bytes });
    return { mediaType: type, digest, size: bytes.length };
  }

  /** Publishes an image; answers its manifest's descriptor and its layers' blobs. */
  publish(
    repository: string,
    tag: string,
    image: BuiltImage,
    options: { format?: "docker" | "oci"; compression?: "gzip" | "zstd" | "none"; linked?: boolean } = {},
  ) {
    const { format = "docker", compression = "gzip" } = options;
    const pack = { gzip: gzipSync, zstd: zstdCompressSync, none: (bytes: Buffer) => bytes }[compression];
    const layerType =
      format === "oci"
        ? `application/vnd.oci.image.layer.v1.tar${compression === "none" ? "" : `+${compression}`}`
        : "application/vnd.docker.image.rootfs.diff.tar.gzip";
    const layers = image.layers.map((layer) => this.put(pack(layer), layerType));
    for (const { digest } of layers) if (options.linked === true) this.linked.add(`${repository} ${digest}`);
    const config = this.put(
      image.config,
      format === "oci"
        ? "application/vnd.oci.image.config.v1+json"
        : "application/vnd.docker.container.image.v1+json",
    );
    const type =
      format === "oci"
        ? "application/vnd.oci.image.manifest.v1+json"
        : "application/vnd.docker.distribution.manifest.v2+json";
    const manifest = this.putManifest(repository, tag, type, {
      schemaVersion: 2,
      mediaType: type,
      config,
      layers,
    });
    return { manifest, layers, config };
  }

  /** Answers as a good registry does. */
  serve(request: IncomingMessage, response: ServerResponse): void {
    const url = request.url ?? "";
    if (url === "/v2/") {
      response.writeHead(200).end("{}");
      return;
    }
    const tags = /^\/v2\/(.+)\/tags\/list/.exec(url)?.[1];
    const upload = /^\/v2\/(.+)\/blobs\/uploads\/([^?]*)(?:\?(.*))?$/.exec(url);
    const [, repository = "", kind = "", name = ""] =
      /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(url) ?? [];
    if (tags !== undefined) this.#serveTags(tags, url, response);
    else if (upload !== null) void this.#serveUpload(upload, request, response);
    else if (kind === "manifests" && request.method === "PUT") {
      void this.#takeManifest(repository, name, request, response);
    } else if (kind === "manifests") this.#serveManifest(repository, name, response);
    else if (kind === "blobs") this.#serveBlob(repository, name, request, response);
    else refuse(response, 404, "UNSUPPORTED", "no such thing");
  }

  /** Two tags a page. */
  #serveTags(repository: string, url: string, response: ServerResponse): void {
    const all = [...this.manifests.keys()]
      .filter((key) => key.startsWith(`${repository}:`))
      .map((key) => key.slice(repository.length + 1))
      .sort();
    if (all.length === 0) {
      refuse(response, 404, "NAME_UNKNOWN", "repository name not known to registry");
      return;
    }
    const last = new URL(url, "http://x").searchParams.get("last") ?? "";
    const rest = all.filter((tag) => tag > last);
    const page = rest.slice(0, 2);
    const more = rest.length > page.length;
    const link = { link: `</v2/${repository}/tags/list?last=${page.at(-1)}&n=2>; rel="next"` };
    response.writeHead(200, more ? link : {}).end(JSON.stringify({ name: repository, tags: page }));
  }

  async #serveUpload(
    [, repository = "", id = "", query = ""]: RegExpExecArray,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const parameters = new URLSearchParams(query);
    const body = await bodyOf(request).catch(() => undefined); // the client went away
    if (body === undefined) return;
    if (request.method === "POST") {
      const mount = parameters.get("mount") ?? "";
      if (this.blobs.has(mount) && this.linked.has(`${parameters.get("from")} ${mount}`)) {
        this.linked.add(`${repository} ${mount}`);
        response.writeHead(201, { location: `/v2/${repository}/blobs/${mount}` }).end();
        return;
      }
      const next = String(this.uploads.size + 1);
      this.uploads.set(next, Buffer.alloc(0));
      response.writeHead(202, { location: `/v2/${repository}/blobs/uploads/${next}` }).end();
      return;
    }
    const bytes = Buffer.concat([this.uploads.get(id) ?? Buffer.alloc(0), body]);
    this.uploads.set(id, bytes);
    if (request.method === "DELETE") {
      response.writeHead(204).end();
    } else if (request.method === "PATCH") {
      response.writeHead(202, { location: `/v2/${repository}/blobs/uploads/${id}?state=1` }).end();
    } else {
      const digest = digestOf(bytes);
      if (digest !== parameters.get("digest")) {
        refuse(response, 400, "DIGEST_INVALID", "provided digest did not match uploaded content");
        return;
      }
      this.blobs.set(digest, bytes);
      this.linked.add(`${repository} ${digest}`);
      response.writeHead(201, { location: `/v2/${repository}/blobs/${digest}` }).end();
    }
  }

  async #takeManifest(
    repository: string,
    name: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const bytes = await bodyOf(request);
    const { config, layers } = JSON.parse(bytes.toString("utf8"));
    for (const { digest } of [config, ...layers]) {
      if (this.blobs.has(digest) && this.#mayRead(repository, digest)) continue;
      refuse(response, 404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
      return;
    }
    const digest = digestOf(bytes);
    const type = request.headers["content-type"] ?? "";
    this.manifests.set(`${repository}:${name}`, { type, bytes });
    this.manifests.set(`${repository}@${digest}`, { type, bytes });
    response.writeHead(201, { "docker-content-digest": digest }).end();
  }

  #mayRead(repository: string, digest: string): boolean {
    return this.linked.size === 0 || this.linked.has(`${repository} ${digest}`);
  }

  #serveManifest(repository: string, name: string, response: ServerResponse): void {
    const found = this.manifests.get(`${repository}${name.includes(":") ? "@" : ":"}${name}`);
    if (found === undefined) {
      const known = [...this.manifests.keys()].some((key) => key.startsWith(`${repository}:`));
      if (known) refuse(response, 404, "MANIFEST_UNKNOWN", "manifest unknown");
      else refuse(response, 404, "NAME_UNKNOWN", "repository name not known to registry");
      return;
    }
    response
      .writeHead(200, { "content-type": found.type, "docker-content-digest": digestOf(found.bytes) })
      .end(found.bytes);
  }

  #serveBlob(repository: string, digest: string, request: IncomingMessage, response: ServerResponse): void {
    const bytes = this.blobs.get(digest);
    if (bytes === undefined || !this.#mayRead(repository, digest)) {
      refuse(response, 404, "BLOB_UNKNOWN", "blob unknown to registry");
      return;
    }
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const part = bytes.subarray(from);
    const range = from > 0 ? { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {};
    response.writeHead(from > 0 ? 206 : 200, { "content-length": part.length, ...range }).end(part);
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/** The error document of the distribution specification. */
export function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response
    .writeHead(status, { "content-type": "application/json" })
    .end(JSON.stringify({ errors: [{ code, message }] }));
}
