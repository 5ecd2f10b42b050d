#!/bin/sh
# scripts/setup.sh runtime|dev|peers: bring .venv to what the lock of that name says. Does nothing when it is there.
#
# PYTHON=/path/to/python chooses the Python; otherwise the first one found that is new enough.
set -eu
cd "$(dirname "$0")/.."

what=${1:-runtime}
case $what in
runtime) lock=requirements.lock ;;
dev | peers) lock=requirements-$what.lock ;;
*)
    echo "setup: runtime, dev or peers, not '$what'" >&2
    exit 2
    ;;
esac
stamp=.venv/.$what
oldest=3.11

say() { echo "setup: $*" >&2; }

new_enough() {
    "$1" -c "import sys; sys.exit(sys.version_info[:2] < (${oldest%.*}, ${oldest#*.}))" 2>/dev/null
}

find_python() {
    found=
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        command -v "$name" >/dev/null 2>&1 || continue
        if new_enough "$name"; then
            echo "$name"
            return
        fi
        found="$found $("$name" -c 'import platform; print(platform.python_version())' 2>/dev/null || true)"
    done
    if [ -n "${found# }" ]; then
        say "ticktape needs Python $oldest or newer; found only:$found"
    else
        say "ticktape needs Python $oldest or newer; found ${PYTHON:-none}"
    fi
    say "install one (Debian, Ubuntu: apt install python3 python3-venv), or name it: make setup PYTHON=/path/to/python"
    return 1
}

make_venv() {
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        say "$(command -v "$python") has no venv module"
        say "install it (Debian, Ubuntu: apt install python3-venv), then run this again"
        return 1
    fi
    rm -rf .venv
    "$python" -m venv .venv
}

# What the environment was made from; a change of any of it is a reason to install again.
key() {
    .venv/bin/python - "$lock" pyproject.toml scripts/setup.sh <<'PY'
import hashlib, os, sys
total = hashlib.sha256(f"{sys.version} {os.path.realpath('.')}".encode())
for name in sys.argv[1:]:
    total.update(open(name, "rb").read())
print(total.hexdigest())
PY
}

install() {
    say "installing $(grep -c '==' "$lock") packages from $lock (once) ..."
    # Without a compiler a package without a wheel says so at once; only the benchmarks' peers may need one.
    wheels="--only-binary=:all:"
    [ "$what" = peers ] && wheels="--prefer-binary"
    if ! .venv/bin/python -m pip install -qq --disable-pip-version-check "$wheels" --require-hashes -r "$lock"; then
        say "pip could not install $lock (its message is above)"
        [ "$what" = peers ] && say "a peer may have to be compiled here: apt install gcc python3-dev, or PYTHON=python3.13"
        return 1
    fi
    if [ "$what" != peers ]; then
        .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
    fi
}

# The dashboard's libraries, from npm. Without them all the rest works, so that this never fails an installation.
desk() {
    case $what in
    runtime) scripts/desk.sh ;;
    dev) scripts/desk.sh dev ;;
    esac
}

if ! [ -x .venv/bin/python ] || ! new_enough .venv/bin/python; then
    make_venv
fi
wanted=$(key)
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    desk
    exit 0
fi
rm -f "$stamp"
install
desk
[ "$what" = runtime ] && .venv/bin/ticktape doctor --warm
echo "$wanted" >"$stamp"
