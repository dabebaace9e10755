#!/bin/sh
# `npm test`: works under whatever Node npm itself runs on; the set-up finds the one the tests run on.
root=$(cd "${0%/*}/.." && pwd -P) || exit 1
cd "$root" || exit 1
# The same everywhere, whatever the caller's shell is set to: rights of new files, language, and which engine is spoken to.
umask 022
export LC_ALL=C.UTF-8
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_CONFIG DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION \
  DOCKER_DEFAULT_PLATFORM DOCKER_CLI_EXPERIMENTAL DOCKER_CONTENT_TRUST DOCKER_HIDE_LEGACY_COMMANDS BUILDKIT_HOST \
  COMPOSE_FILE COMPOSE_PROJECT_NAME COMPOSE_PROFILES COMPOSE_ENV_FILES CONTAINER_HOST CONTAINERS_CONF BERTH_HOST \
  NO_COLOR FORCE_COLOR NODE_OPTIONS LISTEN_FDS LISTEN_PID LISTEN_FDNAMES
sh scripts/setup.sh --test </dev/null || exit 1
read -r node <.setup/node || exit 1
exec "$node" --disable-warning=ExperimentalWarning scripts/test.ts "$@"
