#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the image of a minimal Debian 12 system with systemd and these packages.
#
# usage: tests/vm/disk.sh IMAGE PACKAGE...
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/chroot.sh"

image=$1
shift
make_chroot "systemd-sysv,udev,dbus,iproute2"
in_chroot apt-get -qq update
in_chroot env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
	-o Dpkg::Use-Pty=0 install "$@"
in_chroot apt-get clean
rm -rf "$root"/var/lib/apt/lists/*
for dir in dev/pts dev/shm dev sys proc; do
	umount "$root/$dir"
done
mkfs.ext4 -q -O ^has_journal -d "$root" "$image.tmp" 2G
mv "$image.tmp" "$image"
