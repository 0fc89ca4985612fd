#!/bin/sh
# Programs that some tests use, where root and apt are at hand: a browser for the pages, OpenSSH's
# server for checks on another machine, a compiler and libraries for the C++ sample of a bundle.
# Without them those tests are skipped, and say so; this script never fails.
export DEBIAN_FRONTEND=noninteractive
quickly="-qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20"
updated=

# install PACKAGES PROGRAM...: unless one of the programs, or a file of that path, is there
install() {
    packages=$1
    shift
    for program in "$@"; do
        if command -v "$program" > /dev/null || [ -f "$program" ]; then
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

# ONNX Runtime's headers, for the library of its wheel. Debian has them from version 13 on: the package
# is unpacked into build/onnxruntime, not installed, and nothing else is taken from there.
headers() {
    folder=build/onnxruntime
    if [ -f /usr/include/onnxruntime/onnxruntime_c_api.h ] || [ -d $folder/usr ]; then
        return
    fi
    archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2> /dev/null \
        | grep '/debian/$' | head -n 1)
    mkdir -p $folder/lists/partial $folder/cache/archives/partial
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keys] $archive trixie main" > $folder/sources.list
    own="-o Dir::Etc::SourceList=$PWD/$folder/sources.list -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists=$PWD/$folder/lists -o Dir::Cache=$PWD/$folder/cache"
    # shellcheck disable=SC2086 # options are words
    { [ -n "$archive" ] && timeout 120 apt-get update $quickly $own \
        && (cd $folder && timeout 120 apt-get download $quickly $own libonnxruntime-dev) \
        && dpkg-deb -x $folder/libonnxruntime-dev_*.deb $folder; } > /dev/null 2>&1 \
        || echo "no headers of ONNX Runtime: the tests of the C++ sample will be skipped" >&2
    rm -rf $folder/lists $folder/cache
}

install chromium chromium chromium-browser google-chrome google-chrome-stable
install "openssh-server openssh-client" sshd /usr/sbin/sshd
install g++ g++
install nlohmann-json3-dev /usr/include/nlohmann/json.hpp
install libstb-dev /usr/include/stb/stb_image.h
install libturbojpeg0-dev /usr/include/turbojpeg.h
headers
exit 0
