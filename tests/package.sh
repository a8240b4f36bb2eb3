#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs, runs, upgrades, removes and purges the package that "make deb" has built, as an admin
# would, on a minimal Debian 12 in a chroot. No service manager runs there: the daemon is started by
# hand, as the unit says.
#
# usage: tests/package.sh
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/chroot.sh"

nqn=nqn.2014-08.org.example:gateway
failed=0 passed=0

# check WHAT COMMAND...
check()
{
	what=$1
	shift
	if "$@" >"$root/tmp/out" 2>&1; then
		passed=$((passed + 1))
		return
	fi
	failed=$((failed + 1))
	echo "FAILED: $what: $*"
	cat "$root/tmp/out"
}

not()
{
	! "$@"
}

apt()
{
	in_chroot env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
		-o Dpkg::Use-Pty=0 "$@"
}

is_owned()
{
	[ "$(in_chroot stat -c '%U:%G %a' "$1")" = "$2" ]
}

# Runs $1 in the chroot with network and processes of its own, which end with it, while the daemon
# is up in there.
with_daemon()
{
	cat >"$root/tmp/with_daemon" <<-END
		set -eu
		ip link set lo up
		mount -t proc proc /proc
		umask 027
		install -d -o nvmegw -g nvmegw /run/nvmegw
		install -d -o nvmegw -g nvmegw -m 750 /var/lib/nvmegw
		setpriv --reuid nvmegw --regid nvmegw --init-groups --no-new-privs \
			nvmegwd -c /etc/nvmegw/nvmegw.json &
		daemon=\$!
		for i in \$(seq 100); do
			nvmegw path list -o json 2>/dev/null | grep -q '"usable": true' && break
			sleep 0.1
		done
		$1
		kill \$daemon
		wait \$daemon
	END
	unshare --net --mount --pid --fork --kill-child chroot "$root" env -i \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 sh /tmp/with_daemon
}

leftovers()
{
	in_chroot find /etc /lib/systemd /usr /var/lib /run -xdev -iname '*nvmegw*' \
		-not -path '/var/lib/dpkg/*' -not -path '/var/lib/apt/*'
}

deb=$(ls "$top"/build/deb/nvmegw_*.deb)
mount -t tmpfs -o mode=755 root "$root"
make_chroot ca-certificates,iproute2
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
apt update

# ---- install ----
cp "$deb" "$root/tmp/nvmegw.deb"
check "it installs" apt install /tmp/nvmegw.deb
check "the user is there" in_chroot getent passwd nvmegw
check "the group is there" in_chroot getent group nvmegw
check "the folder of the configuration" is_owned /etc/nvmegw 'root:nvmegw 770'
check "the unit is enabled" test -L \
	"$root/etc/systemd/system/multi-user.target.wants/nvmegwd.service"
check "the socket unit is not" not test -e \
	"$root/etc/systemd/system/sockets.target.wants/nvmegwd.socket"
check "the units are right" in_chroot systemd-analyze verify --man=no --recursive-errors=no \
	nvmegwd.service nvmegwd.socket
check "a fresh install does nothing" not test -e "$root/etc/nvmegw/nvmegw.json"
for file in usr/share/man/man8/nvmegwd.8.gz usr/share/man/man1/nvmegw.1.gz \
	usr/share/man/man5/nvmegw.json.5.gz usr/share/bash-completion/completions/nvmegw \
	usr/share/zsh/vendor-completions/_nvmegw usr/share/fish/vendor_completions.d/nvmegw.fish; do
	check "it has $file" test -s "$root/$file"
done
for config in $(grep -l '"listeners"' "$root"/usr/share/doc/nvmegw/examples/*.json); do
	check "an example is right" in_chroot nvmegwd -t -c "${config#"$root"}"
done

# ---- configure and run ----
cat >"$root/etc/nvmegw/nvmegw.json" <<-END
	{ "listeners": [ { "transport": "tcp", "traddr": "0.0.0.0" } ],
	  "subsystems": [ { "nqn": "$nqn", "upstreams": [
	    { "transport": "file", "path": "/var/lib/nvmegw/disk.img", "size": "16MiB" } ] } ] }
END
check "it runs" with_daemon "
	nvmegw-bench --addr 127.0.0.1:4420 --nqn $nqn --rw mix --verify --time 2 --wait 10
	useradd -G nvmegw admin1
	setpriv --reuid admin1 --regid admin1 --init-groups nvmegw status
	! setpriv --reuid nobody --regid nogroup --clear-groups nvmegw status 2>/dev/null
	nvmegw namespace list -o json >/tmp/namespaces"
check "its state is there" is_owned /var/lib/nvmegw/nsids.json nvmegw:nvmegw\ 640
check "it saves what was changed" with_daemon "
	nvmegw policy set numa
	nvmegw config save"
check "in its file" grep -q numa "$root/etc/nvmegw/nvmegw.json"
check "which is as readable as it was" is_owned /etc/nvmegw/nvmegw.json nvmegw:nvmegw\ 644
check "and has what it was beside it" not grep -q numa "$root/etc/nvmegw/nvmegw.json.bak"
cp "$root/etc/nvmegw/nvmegw.json" "$root/tmp/config"

# ---- upgrade ----
in_chroot dpkg-deb -R /tmp/nvmegw.deb /tmp/next
sed -i 's/^Version: .*/&+next/' "$root/tmp/next/DEBIAN/control"
in_chroot dpkg-deb --root-owner-group -b /tmp/next /tmp/next.deb >/dev/null
check "it upgrades" apt install /tmp/next.deb
check "to the next version" in_chroot sh -c "dpkg-query -W nvmegw | grep -q next"
check "the configuration is as it was" cmp "$root/tmp/config" "$root/etc/nvmegw/nvmegw.json"
check "it runs with its state" with_daemon "
	nvmegw namespace list -o json | grep '\"uuid\"\|\"nsid\"' >/tmp/after
	grep '\"uuid\"\|\"nsid\"' /tmp/namespaces | cmp - /tmp/after"

# ---- remove and purge ----
check "it goes" apt remove nvmegw
check "the configuration stays" test -e "$root/etc/nvmegw/nvmegw.json"
check "the state stays" test -e "$root/var/lib/nvmegw/nsids.json"
check "the programs do not" not test -e "$root/usr/sbin/nvmegwd"
check "it comes back" apt install /tmp/nvmegw.deb
check "it is purged" apt purge nvmegw
rm -rf "$root/run/nvmegw" # the service manager's
check "nothing is left" test -z "$(leftovers)"
leftovers
check "it comes again" apt install /tmp/nvmegw.deb

echo "$passed passed, $failed failed"
[ $failed = 0 ]
