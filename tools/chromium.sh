#!/bin/sh
# A browser for the tests of to_label.html, where root and apt are at hand. Without one they are
# skipped, and say so; this script never fails.
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" > /dev/null; then
        exit 0
    fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    quickly="-qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20"
    # shellcheck disable=SC2086 # the options are words
    { timeout 120 apt-get update $quickly \
        && timeout 600 apt-get install $quickly -y --no-install-recommends chromium; } \
        > /dev/null 2>&1 || echo "chromium could not be installed: its tests will be skipped" >&2
else
    echo "no chromium, and no root or no apt to install it: its tests will be skipped" >&2
fi
exit 0
