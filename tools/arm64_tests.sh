#!/bin/sh
# The runtime's tests on an emulated Arm processor: a Debian root for arm64 in /var/tmp, run by qemu-user.
#
#   make wheel && sudo tools/arm64_tests.sh [PYTEST OPTIONS]
#
# Needs root and Debian's packages debootstrap and qemu-user-static. ONNX Runtime is held at 1.23.2: later ones up to
# 1.32.0 crash under qemu, not on Arm. What limits memory or time is left out: emulation needs more of both.
set -eu
cd "$(dirname "$0")/.."
root=/var/tmp/edge-compressor-arm64  # not in the checkout: /proc and /dev are mounted in it
[ "$(id -u)" = 0 ] || { echo "tools/arm64_tests.sh: needs root, for chroot" >&2; exit 2; }
for program in debootstrap qemu-aarch64-static; do
  command -v "$program" > /dev/null || { echo "apt install debootstrap qemu-user-static" >&2; exit 2; }
done

# Debian registers the interpreter at boot; in a container it is done here.
binfmt=/proc/sys/fs/binfmt_misc
[ -e "$binfmt/register" ] || mount -t binfmt_misc none "$binfmt"
[ -e "$binfmt/qemu-aarch64" ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf > "$binfmt/register"

if [ ! -e "$root/ready" ]; then
  ! grep -q " $root/" /proc/mounts || { echo "umount what is mounted below $root first" >&2; exit 2; }
  rm -rf --one-file-system "$root"
  mkdir -p "$root"
  debootstrap --arch=arm64 --variant=minbase --include=python3-venv,ca-certificates,libgomp1 bookworm "$root"
  cp --remove-destination -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  chroot "$root" python3 -m venv /venv
  touch "$root/ready"
fi

mkdir -p "$root/work"
cp build/wheel/*.whl "$root/work/"
rm -rf "$root/work/tests"
cp -r tests pyproject.toml README.md "$root/work/"
leave() { for each in proc dev sys; do ! mountpoint -q "$root/$each" || umount "$root/$each"; done; }
trap leave EXIT
leave
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
mount --bind /sys "$root/sys"
run() { chroot "$root" env HOME=/work OMP_NUM_THREADS=1 sh -c "cd /work && $1"; }
run "/venv/bin/pip install --quiet --force-reinstall --no-deps *.whl"
run "/venv/bin/pip install --quiet \$(ls *.whl)[cpu,test] onnxruntime==1.23.2"
run "/venv/bin/python -c 'import platform, onnxruntime; print(platform.machine(), onnxruntime.__version__)'"
run "/venv/bin/pytest -p no:cacheprovider -q -c pyproject.toml --rootdir . --timeout 1800 $* tests/runtime"
