/**
 * An image as a template sees it: the daemon leaves out what is empty, and Docker's templates print the zero value of the
 * field's type for that.
 *
 * The zero values are what the objects inherit, so that JSON and `range` see only what the daemon said.
 */
import { nilPointer } from "#go-template/values.ts";

/** A map of strings has no field that isn't there: what it lacks is "<no value>", not an error. */
const anyKey: object = new Proxy({}, { has: () => true, get: () => undefined });

const zeros = {
  Author: "",
  Comment: "",
  Container: "",
  ContainerConfig: nilPointer,
  Created: "",
  Descriptor: nilPointer,
  DockerVersion: "",
  Manifests: [],
  OsVersion: "",
  Parent: "",
  Variant: "",
  VirtualSize: 0,
};

const configZeros = {
  ArgsEscaped: false,
  Cmd: [],
  Entrypoint: [],
  Env: [],
  ExposedPorts: {},
  Healthcheck: nilPointer,
  Labels: Object.create(anyKey) as object,
  OnBuild: [],
  Shell: [],
  StopSignal: "",
  User: "",
  Volumes: {},
  WorkingDir: "",
};

type Fields = Record<string, unknown>;

/** `image`: the answer of an inspection; anything else comes back as it is. */
export function typedImage(image: unknown): unknown {
  if (!isObject(image)) return image;
  const typed = inherit(image, zeros);
  if (isObject(image.Config)) {
    const config = inherit(image.Config, configZeros);
    if (isObject(config.Labels) && config.Labels !== configZeros.Labels)
      config.Labels = inherit(config.Labels, anyKey);
    typed.Config = config;
  }
  if (isObject(image.GraphDriver) && isObject(image.GraphDriver.Data)) {
    typed.GraphDriver = { ...image.GraphDriver, Data: inherit(image.GraphDriver.Data, anyKey) };
  }
  return typed;
}

/** A copy that has `prototype`'s fields where its own are left out or null. */
function inherit(object: Fields, prototype: object): Fields {
  const own = Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));
  return Object.assign(Object.create(prototype) as Fields, own);
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
