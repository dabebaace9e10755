/**
 * The user's credentials for registries, kept where docker keeps them: in `~/.docker/config.json`, or with a credential
 * helper (`docker-credential-<name>`) that this file names.
 *
 * Everything else in the file stays as it is. Credentials never appear in an error.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import type { RegistryAuth } from "#api-types/image.ts";
import type { Context } from "#cli/command.ts";
import { registryOf } from "#cli/image-name.ts";
import { writeDurably } from "#kernel/durable-file.ts";

/** What docker calls the hub. */
export const defaultRegistry = "https://index.docker.io/v1/";
/** The user name under which helpers keep a token instead of a password. */
const tokenUser = "<token>";

interface Settings {
  auths?: Record<string, { auth?: string; identitytoken?: string }>;
  credsStore?: string;
  credHelpers?: Record<string, string>;
}

type Environment = Context["env"];

export function settingsPath(env: Environment): string {
  return `${env.DOCKER_CONFIG || `${env.HOME ?? ""}/.docker`}/config.json`;
}

/** "https://localhost:5000/v1/" → "localhost:5000"; the hub keeps the name docker gives it. */
export function registryKey(address: string): string {
  const host = address.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return ["", "docker.io", "index.docker.io", "registry-1.docker.io"].includes(host) ? defaultRegistry : host;
}

/** The X-Registry-Auth header for an image's registry; undefined where there are no credentials. */
export function registryHeader(repository: string, env: Environment): string | undefined {
  const credentials = findCredentials(registryOf(repository), env);
  return credentials === undefined ? undefined : encodeCredentials(credentials);
}

export function encodeCredentials(credentials: RegistryAuth): string {
  return Buffer.from(JSON.stringify(credentials)).toString("base64url");
}

/** What is kept for a registry; without settings that can be read there is nothing, as in docker. */
export function findCredentials(registry: string, env: Environment): RegistryAuth | undefined {
  const settings = readSettings(env);
  const helper = helperFor(settings, registry);
  if (helper !== undefined) return askHelper(helper, registry, env);
  const entry = settings.auths?.[registry];
  if (entry?.auth === undefined && entry?.identitytoken === undefined) return undefined;
  const [username = "", ...password] = Buffer.from(entry.auth ?? "", "base64")
    .toString("utf8")
    .split(":");
  return {
    username,
    password: password.join(":"),
    serveraddress: registry,
    ...(entry.identitytoken ? { identitytoken: entry.identitytoken } : {}),
  };
}

/** Keeps credentials; answers the file's path if they are in it for everybody who can read it. */
export function storeCredentials(registry: string, auth: RegistryAuth, env: Environment): string | undefined {
  const settings = settingsToChange(env);
  const helper = helperFor(settings, registry);
  if (helper !== undefined) {
    const Username = auth.identitytoken ? tokenUser : (auth.username ?? "");
    const Secret = auth.identitytoken ? auth.identitytoken : (auth.password ?? "");
    runHelper(helper, "store", JSON.stringify({ ServerURL: registry, Username, Secret }), env);
    writeSettings({ ...settings, auths: { ...settings.auths, [registry]: {} } }, env);
    return undefined;
  }
  const password = auth.identitytoken ? "" : (auth.password ?? "");
  const entry = {
    auth: Buffer.from(`${auth.username ?? ""}:${password}`).toString("base64"),
    ...(auth.identitytoken ? { identitytoken: auth.identitytoken } : {}),
  };
  writeSettings({ ...settings, auths: { ...settings.auths, [registry]: entry } }, env);
  return settingsPath(env);
}

/** Forgets what is kept for a registry. */
export function eraseCredentials(registry: string, env: Environment): void {
  const settings = settingsToChange(env);
  const helper = helperFor(settings, registry);
  if (helper !== undefined && askHelper(helper, registry, env) !== undefined) {
    runHelper(helper, "erase", registry, env);
  }
  if (settings.auths?.[registry] === undefined) return;
  const { [registry]: _, ...auths } = settings.auths;
  writeSettings({ ...settings, auths }, env);
}

function helperFor(settings: Settings, registry: string): string | undefined {
  const name = settings.credHelpers?.[registry] ?? settings.credsStore;
  return name === undefined || name === "" ? undefined : `docker-credential-${name}`;
}

function askHelper(helper: string, registry: string, env: Environment): RegistryAuth | undefined {
  let answer: { Username?: string; Secret?: string };
  try {
    answer = JSON.parse(runHelper(helper, "get", registry, env));
  } catch {
    return undefined; // it has none for this registry, or is not there: docker goes on without, too
  }
  const { Username: username = "", Secret: secret = "" } = answer;
  return username === tokenUser
    ? { identitytoken: secret, serveraddress: registry }
    : { username, password: secret, serveraddress: registry };
}

function runHelper(helper: string, action: string, input: string, env: Environment): string {
  const ran = spawnSync(helper, [action], { input, env: { ...env }, encoding: "utf8" });
  if (ran.status === 0) return ran.stdout;
  const why = ran.error?.message ?? ran.stdout.trim().slice(0, 500);
  throw new Error(`error ${action === "get" ? "getting" : "storing"} credentials - err: ${helper}: ${why}`);
}

/** To look something up in: a file that cannot be read has nothing in it, as in docker. */
function readSettings(env: Environment): Settings {
  try {
    return settingsToChange(env);
  } catch {
    return {}; // told by whoever wants to change it
  }
}

/** Throws where there is a file that would be lost by writing it anew. */
function settingsToChange(env: Environment): Settings {
  const path = settingsPath(env);
  if (!existsSync(path)) return {};
  const settings = JSON.parse(readFileSync(path, "utf8")) as unknown;
  if (typeof settings === "object" && settings !== null && !Array.isArray(settings)) return settings;
  throw new Error(`${path} does not hold an object`);
}

/** Replaces the file in one step; only its owner may read it. */
function writeSettings(settings: Settings, env: Environment): void {
  const path = settingsPath(env);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeDurably(path, JSON.stringify(settings, null, "\t"), 0o600);
}
