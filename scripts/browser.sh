#!/bin/sh
# scripts/browser.sh: put a Chromium on this machine for the dashboard's tests, where it can; else say what to install.
#
# Debian and Ubuntu with root: apt's chromium. Anywhere: CHROMIUM=/path/to/chromium names one that is there already.
# Never fails: without a browser those tests are skipped, and say so.
set -eu
say() { echo "browser: $*" >&2; }

for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
    [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ -r /etc/debian_version ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing chromium with apt (once) ..."
    if { apt-get install -y -qq --no-install-recommends chromium fonts-inter ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-inter; }; } >/dev/null 2>&1; then
        exit 0
    fi
    say "apt could not install it"
fi
say "no Chromium here: the dashboard's tests in tests/desk will be skipped"
say "install one (Debian, Ubuntu: sudo apt install chromium), or name it: CHROMIUM=/path/to/chromium make test"
