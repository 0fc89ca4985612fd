#!/bin/sh
# Programs that some tests use, where root and apt are at hand: a browser for the pages, OpenSSH's
# server for checks on another machine. Without them those tests are skipped, and say so; this
# script never fails.
export DEBIAN_FRONTEND=noninteractive
quickly="-qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20"
updated=

# install PACKAGES PROGRAM...: unless one of the programs is there
install() {
    packages=$1
    shift
    for program in "$@"; do
        if command -v "$program" > /dev/null; then
            return
        fi
    done
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        echo "no $1, and no root or no apt to install it: its tests will be skipped" >&2
        return
    fi
    # shellcheck disable=SC2086 # options and packages are words
    { { [ "$updated" ] || timeout 120 apt-get update $quickly; } && updated=yes \
        && timeout 600 apt-get install $quickly -y --no-install-recommends $packages; } \
        > /dev/null 2>&1 || echo "$1 could not be installed: its tests will be skipped" >&2
}

install chromium chromium chromium-browser google-chrome google-chrome-stable
install "openssh-server openssh-client" sshd /usr/sbin/sshd
exit 0
