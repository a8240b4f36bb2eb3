#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs make targets on a machine with nothing installed: a chroot that is made here and removed
# afterwards.
#
# usage: tests/fresh.sh [TARGET...]    (default: check)
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/chroot.sh"
make_chroot ca-certificates,make

# What git knows and what is new, not what was built.
mkdir "$root/src"
git -C "$top" ls-files -z --cached --others --exclude-standard |
	tar -c -C "$top" --ignore-failed-read --null -T - | tar -x -C "$root/src"
[ $# -gt 0 ] || set -- check
in_chroot make -C /src "$@"
