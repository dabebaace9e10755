/** The runtime specification that is implemented (https://github.com/opencontainers/runtime-spec, releases). */
export const SPEC_VERSION = "1.3.0";
