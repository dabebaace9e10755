/**
 * The archive behind an address, for docker import: fetched by the daemon over HTTP or HTTPS.
 */
import type { Readable } from "node:stream";
import { BerthError } from "#errors/errors.ts";
import { hidePasswords } from "#errors/hide-passwords.ts";
import { ExchangeError, exchange, readBody } from "./registry/http-exchange.ts";
import { type ProxySettings, proxyFromEnvironment } from "./registry/proxy.ts";
import { makeTransport } from "./registry/transport.ts";

/** Bytes of an error page that are shown. */
const shownBytes = 4096;

export interface RemoteArchive {
  /** As it may be shown and kept. */
  url: string;
  body: Readable;
  /** Bytes; 0 where the server doesn't tell. */
  size: number;
}

/** Throws BerthError with the server's answer, or why there was none. An address without scheme is one of HTTP. */
export async function openRemoteArchive(
  address: string,
  options: { proxy: ProxySettings | undefined; signal: AbortSignal | undefined },
): Promise<RemoteArchive> {
  const detail = { operation: "fetch archive", object: hidePasswords(address) };
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(address) ? address : `http://${address}`;
  if (!/^https?:/i.test(url) || !URL.canParse(url)) {
    throw new BerthError(
      "invalid",
      `cannot fetch ${JSON.stringify(hidePasswords(address))}: not an http or https address`,
      detail,
    );
  }
  const shown = hidePasswords(url);
  const proxy = options.proxy ?? proxyFromEnvironment();
  const transport = makeTransport({ insecure: false, proxy });
  try {
    const response = await exchange({
      method: "GET",
      url,
      shown,
      headers: {},
      transport,
      signal: options.signal,
    });
    if (response.status < 400) {
      return { url: shown, body: response.body, size: Number(response.headers["content-length"] ?? 0) };
    }
    const page = await readBody(response, shownBytes).catch(() => Buffer.from("")); // the status is what counts
    const status = `${response.status} ${response.body.statusMessage ?? ""}`.trim();
    throw new BerthError("internal", `failed to GET ${shown} with status ${status}: ${page}`, detail);
  } catch (cause) {
    options.signal?.throwIfAborted();
    if (!(cause instanceof ExchangeError)) throw cause;
    throw new BerthError("internal", cause.message, { ...detail, cause });
  }
}
