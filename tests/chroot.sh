# SPDX-License-Identifier: Apache-2.0
# To be sourced: a Debian 12 chroot in $root, removed at the end of the script, with the packages of
# this machine's own apt sources. Needs root and debootstrap.

# Mounts are this script's own and go with it, however it ends.
[ -n "${PRIVATE_MOUNTS-}" ] || exec unshare --mount env PRIVATE_MOUNTS=1 "$0" "$@"

root=$(mktemp -d)
chmod 755 "$root" # apt's own user looks in

# Newest first: /dev/pts is in /dev. Nothing is removed below a mount that would not go.
clean_up()
{
	for dir in run/netns dev/pts dev/shm dev sys proc; do
		mountpoint -q "$root/$dir" && umount -R "$root/$dir"
	done
	while mountpoint -q "$root"; do
		umount "$root" || break
	done
	rm -rf --one-file-system "$root"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

# make_chroot PACKAGE,...: a minimal system and these packages
make_chroot()
{
	sources=$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
		'Identifier: Packages' 'Origin: Debian')
	mirror=$(echo "$sources" | awk '$3 == "bookworm" { print $2; exit }')
	[ -n "$mirror" ] || {
		echo "apt has no source for bookworm: apt-get update" >&2
		exit 1
	}
	mount --bind "$root" "$root" # ip netns exec wants its / to be a mount
	debootstrap --variant=minbase --include="$1" bookworm "$root" "$mirror" >&2
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
}

# in_chroot COMMAND...
in_chroot()
{
	chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
		TERM="${TERM:-dumb}" "$@"
}
