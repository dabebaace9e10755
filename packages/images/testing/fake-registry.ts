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
  fault: Fault = () => false;
  readonly #server: Server;
  host = "";

  constructor() {
    this.#server = createServer((request, response) => {
      this.requests.push(`${request.method} ${request.url}`);
      if (!this.fault(request, response)) this.#serve(request, response);
    });
  }

  static async start(t: TestContext): Promise<FakeRegistry> {
    const registry = new FakeRegistry();
    await new Promise<void>((resolve) => registry.#server.listen(0, "127.0.0.1", resolve));
    registry.host = `127.0.0.1:${(registry.#server.address() as AddressInfo).port}`;
    t.after(() => registry.stop());
    return registry;
  }

  /** Serves the same over TLS as well; answers that host. */
  async listenSecurely(t: TestContext, identity: { key: Buffer; cert: Buffer }): Promise<string> {
    const server = createSecureServer(identity, (request, response) => this.#serve(request, response));
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
    options: { format?: "docker" | "oci"; compression?: "gzip" | "zstd" | "none" } = {},
  ) {
    const { format = "docker", compression = "gzip" } = options;
    const pack = { gzip: gzipSync, zstd: zstdCompressSync, none: (bytes: Buffer) => bytes }[compression];
    const layerType =
      format === "oci"
        ? `application/vnd.oci.image.layer.v1.tar${compression === "none" ? "" : `+${compression}`}`
        : "application/vnd.docker.image.rootfs.diff.tar.gzip";
    const layers = image.layers.map((layer) => this.put(pack(layer), layerType));
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

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = request.url ?? "";
    if (url === "/v2/") {
      response.writeHead(200).end("{}");
      return;
    }
    const [, repository = "", kind = "", name = ""] =
      /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(url) ?? [];
    if (kind === "manifests") this.#serveManifest(repository, name, response);
    else if (kind === "blobs") this.#serveBlob(name, request, response);
    else refuse(response, 404, "UNSUPPORTED", "no such thing");
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

  #serveBlob(digest: string, request: IncomingMessage, response: ServerResponse): void {
    const bytes = this.blobs.get(digest);
    if (bytes === undefined) {
      refuse(response, 404, "BLOB_UNKNOWN", "blob unknown to registry");
      return;
    }
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const part = bytes.subarray(from);
    const range = from > 0 ? { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {};
    response.writeHead(from > 0 ? 206 : 200, { "content-length": part.length, ...range }).end(part);
  }
}

/** The error document of the distribution specification. */
export function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response
    .writeHead(status, { "content-type": "application/json" })
    .end(JSON.stringify({ errors: [{ code, message }] }));
}
