#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs make targets on a machine with nothing installed: a Debian 12 chroot made here and removed
# afterwards, with the packages of this machine's own apt sources. Needs root and debootstrap.
#
# usage: tests/fresh.sh [TARGET...]    (default: check)
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
root=$(mktemp -d)
chmod 755 "$root" # apt's own user looks in

# Newest first: /dev/pts is in /dev. Nothing is removed below a mount that would not go.
clean_up()
{
	for dir in dev/pts dev/shm dev sys proc; do
		mountpoint -q "$root/$dir" && umount "$root/$dir"
	done
	rm -rf --one-file-system "$root"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

sources=$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
	'Identifier: Packages' 'Origin: Debian')
mirror=$(echo "$sources" | awk '$3 == "bookworm" { print $2; exit }')
[ -n "$mirror" ] || { echo "fresh: apt has no source for bookworm: apt-get update" >&2; exit 1; }

debootstrap --variant=minbase --include=ca-certificates,make bookworm "$root" "$mirror" >&2
echo "$sources" >"$root/etc/apt/sources.list"
for file in /etc/hosts /etc/resolv.conf; do
	cp -L "$file" "$root$file"
done
mount -t proc proc "$root/proc"
mount -t sysfs sys "$root/sys"
mount -t tmpfs dev "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 pts "$root/dev/pts"
mount -t tmpfs shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
	mknod -m 666 "$root/dev/${node%% *}" c ${node#* }
done

# What git knows and what is new, not what was built.
mkdir "$root/src"
git -C "$top" ls-files -z --cached --others --exclude-standard |
	tar -c -C "$top" --ignore-failed-read --null -T - | tar -x -C "$root/src"
[ $# -gt 0 ] || set -- check
chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" \
	make -C /src "$@"
