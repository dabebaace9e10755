/**
 * What is asked of registries without an image here: logging in, searching, looking at what a name stands for.
 *
 * Holds nothing. Credentials go to the registry they are for and appear in no error.
 */
import type { RegistryAuth } from "#api-types/image.ts";
import type { ConnectOptions } from "./registry/connect.ts";
import { type DistributionAnswer, inspectDistribution } from "./registry/distribution.ts";
import { type LoginAnswer, logIn } from "./registry/login.ts";
import { type SearchRequest, type SearchResult, searchImages } from "./registry/search.ts";

export class Registries {
  readonly #connect: () => ConnectOptions;

  constructor(connect: () => ConnectOptions) {
    this.#connect = connect;
  }

  /** docker login: are these credentials good? Throws "unauthorized" where the registry says no. */
  logIn(auth: RegistryAuth, signal?: AbortSignal): Promise<LoginAnswer> {
    return logIn(auth, this.#connect(), signal);
  }

  /** docker search. Throws where the registry has no search. */
  search(request: SearchRequest, signal?: AbortSignal): Promise<SearchResult[]> {
    return searchImages(request, this.#connect(), signal);
  }

  /** Digest, type and platforms of what a name stands for, without fetching it. */
  distribution(
    name: string,
    auth: RegistryAuth | undefined,
    signal?: AbortSignal,
  ): Promise<DistributionAnswer> {
    return inspectDistribution(name, auth, this.#connect(), signal);
  }
}
