/** Small servers of the kinds log drivers talk to, which keep what they get. */
import { createSocket } from "node:dgram";
import { createServer as createHttpServer } from "node:http";
import { createServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";

export interface TestServer extends AsyncDisposable {
  port: number;
  /** Everything received, in order: datagrams, or the bytes of all connections. */
  received: Buffer[];
  bytes(): Buffer;
}

export interface StreamOptions {
  /** Path of a unix socket in the place of a port. */
  path?: string;
  port?: number;
  tls?: { key: string; cert: string };
  onConnection?: (socket: Socket) => void;
}

export async function streamServer(options: StreamOptions = {}): Promise<TestServer> {
  const received: Buffer[] = [];
  const sockets = new Set<Socket>();
  const take = (socket: Socket) => {
    sockets.add(socket);
    socket.on("data", (chunk: Buffer) => received.push(chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    options.onConnection?.(socket);
  };
  const server = options.tls === undefined ? createServer(take) : createTlsServer(options.tls, take);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    if (options.path !== undefined) server.listen(options.path, resolve);
    else server.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    received,
    bytes: () => Buffer.concat(received),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export async function datagramServer(): Promise<TestServer> {
  const received: Buffer[] = [];
  const socket = createSocket("udp4", (message) => received.push(message));
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  socket.setRecvBufferSize(1 << 20);
  return {
    port: socket.address().port,
    received,
    bytes: () => Buffer.concat(received),
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => socket.close(() => resolve())),
  };
}

export interface HttpRequestSeen {
  method: string;
  path: string;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

/** `status`: of the n-th answer. */
export async function httpServer(
  status: (n: number) => number = () => 200,
): Promise<{ port: number; requests: HttpRequestSeen[] } & AsyncDisposable> {
  const requests: HttpRequestSeen[] = [];
  const server = createHttpServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url: path = "", headers } = request;
      requests.push({ method, path, headers, body: Buffer.concat(chunks) });
      response.statusCode = status(requests.length - 1);
      response.end("{}");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
