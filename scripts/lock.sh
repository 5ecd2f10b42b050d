#!/bin/sh
# Rewrites the three locks: every package with its hashes and without any address, for every Python we run on.
set -eu
cd "$(dirname "$0")/.."

lock() {
    file=$1
    shift
    {
        echo "# Written by \`make lock\`. Hashes and no addresses: pip install --require-hashes -r $file"
        uv pip compile pyproject.toml "$@" --universal --python-version 3.11 --upgrade --quiet \
            --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate
    } >"$file.new"
    if grep -nE '://|file:|(^|[ @])/' "$file.new"; then
        echo "make lock: $file would name an address or a path (above); nothing was changed" >&2
        rm "$file.new"
        exit 1
    fi
    mv "$file.new" "$file"
}

lock requirements.lock --group build
lock requirements-dev.lock --group build --extra dev --constraint requirements.lock
lock requirements-peers.lock --extra peers --constraint requirements-dev.lock
