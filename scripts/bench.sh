#!/bin/sh
# `npm run bench`: works under whatever Node npm itself runs on, like test.sh.
root=$(cd "${0%/*}/.." && pwd -P) || exit 1
cd "$root" || exit 1
sh scripts/setup.sh </dev/null || exit 1
read -r node <.setup/node || exit 1
exec "$node" --disable-warning=ExperimentalWarning bench/main.ts "$@"
