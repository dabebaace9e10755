/**
 * Calls of a plugin: one POST each, JSON both ways (Docker's plugin API). A plugin that is not there is tried again with
 * growing pauses for as long as the caller has patience; one that does not answer is given up.
 */

import { readFileSync } from "node:fs";
import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { parseJson } from "#errors/bounded-json.ts";
import type { PluginAddress } from "#plugins/plugin-discovery.ts";

const CONTENT_TYPE = "application/vnd.docker.plugins.v1.2+json";
/** Bytes; a list of tens of thousands of volumes fits. */
const MAX_ANSWER = 16 * 1024 * 1024;
/** What is told of a plugin's own words. */
const MAX_REASON = 4096;

export interface CallOptions {
  /** How long one answer may take, ms. */
  timeout: number;
  /** How long a plugin that cannot be reached is tried again, ms; 0 for not at all. */
  patience: number;
}

/** What is the matter: nobody is there, nothing comes back, or the plugin says that it failed. */
export type PluginFailure = "unreachable" | "silent" | "answered";

export class PluginError extends Error {
  readonly failure: PluginFailure;

  constructor(message: string, failure: PluginFailure) {
    super(message);
    this.name = "PluginError";
    this.failure = failure;
  }
}

/** Throws PluginError. The answer is an object; what is in it is for the caller to check. */
export async function callPlugin(
  plugin: PluginAddress,
  method: string,
  argument: unknown,
  { timeout, patience }: CallOptions,
): Promise<Record<string, unknown>> {
  const deadline = Date.now() + patience;
  for (let pause = 1000; ; pause *= 2) {
    try {
      return await callOnce(plugin, method, argument, timeout);
    } catch (error) {
      const again =
        error instanceof PluginError && error.failure === "unreachable" && Date.now() + pause < deadline;
      if (!again) throw error;
    }
    await sleep(pause);
  }
}

async function callOnce(
  plugin: PluginAddress,
  method: string,
  argument: unknown,
  timeout: number,
): Promise<Record<string, unknown>> {
  const { status, body } = await exchange(plugin, method, JSON.stringify(argument ?? {}), timeout);
  let answer: unknown;
  try {
    answer = body === "" ? {} : parseJson(body);
  } catch {
    answer = undefined;
  }
  const fields =
    typeof answer === "object" && answer !== null ? (answer as Record<string, unknown>) : undefined;
  const reported = typeof fields?.Err === "string" ? fields.Err.slice(0, MAX_REASON) : "";
  if (status !== 200)
    throw new PluginError(
      `${method}: ${reported || body.slice(0, MAX_REASON).trim() || `HTTP status ${status}`}`,
      "answered",
    );
  if (reported !== "") throw new PluginError(reported, "answered");
  if (fields === undefined)
    throw new PluginError(`${method}: the plugin ${plugin.name} answered with no JSON object`, "answered");
  return fields;
}

function exchange(
  plugin: PluginAddress,
  method: string,
  body: string,
  timeout: number,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    let request: ClientRequest;
    const timer = setTimeout(() => {
      request?.destroy();
      reject(
        new PluginError(
          `${method}: the plugin ${plugin.name} did not answer within ${timeout / 1000} s`,
          "silent",
        ),
      );
    }, timeout);
    const fail = (error: Error & { code?: string }) => {
      clearTimeout(timer);
      const why = error.code === "ECONNREFUSED" ? "connection refused" : error.message;
      reject(
        new PluginError(`cannot reach the plugin ${plugin.name} at ${plugin.address}: ${why}`, "unreachable"),
      );
    };
    const receive = (answer: IncomingMessage) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk: string) => {
        text += chunk;
        if (text.length <= MAX_ANSWER) return;
        clearTimeout(timer);
        request.destroy();
        const most = `${MAX_ANSWER / 1024 / 1024} MiB`;
        // Not to be asked again: it would say as much once more.
        reject(
          new PluginError(`${method}: the plugin ${plugin.name} answered with more than ${most}`, "answered"),
        );
      });
      answer.on("error", fail);
      answer.on("end", () => {
        clearTimeout(timer);
        resolve({ status: answer.statusCode ?? 0, body: text });
      });
    };
    try {
      request = open(plugin, `/${method}`, receive);
      request.on("error", fail);
      request.end(body);
    } catch (error) {
      fail(error instanceof Error ? error : new Error(String(error)));
    }
  });
}

function open(
  { address, tls }: PluginAddress,
  path: string,
  receive: (answer: IncomingMessage) => void,
): ClientRequest {
  const headers = { Accept: CONTENT_TYPE, "Content-Type": CONTENT_TYPE };
  const common = { method: "POST", path, headers, agent: false };
  if (address.startsWith("unix://")) {
    return httpRequest({ ...common, socketPath: address.slice("unix://".length) }, receive);
  }
  const { protocol, hostname, port } = new URL(address);
  if (protocol !== "https:") {
    return httpRequest({ ...common, hostname, port: port || 80 }, receive);
  }
  const file = (name: string | undefined) => (name === undefined ? undefined : readFileSync(name));
  const [ca, cert, key] = [file(tls?.ca), file(tls?.certificate), file(tls?.key)];
  return httpsRequest(
    {
      ...common,
      hostname,
      port: port || 443,
      rejectUnauthorized: !(tls?.insecure ?? true),
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    },
    receive,
  );
}
