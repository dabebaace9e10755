#!/bin/sh
# `npm run chaos`, `npm run fuzz`: work under whatever Node npm itself runs on, like test.sh. The first word says which.
root=$(cd "${0%/*}/.." && pwd -P) || exit 1
cd "$root" || exit 1
sh scripts/setup.sh --test </dev/null || exit 1
read -r node <.setup/node || exit 1
exec "$node" --disable-warning=ExperimentalWarning "$@"
