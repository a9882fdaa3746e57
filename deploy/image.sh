#!/usr/bin/env bash
# Builds the Dockerfile's image where there is no container engine and no image registry, and tries it: as root, on
# Debian or Ubuntu, with buildah and debootstrap (apt-get install buildah debootstrap) and the .venv of `make`.
#
#   deploy/image.sh            builds the image, runs every part from it (try_image.py), throws everything away
#   BASE=folder deploy/image.sh  keeps the base system there, for the next time
#
# The base is a Debian made here, put in the place of the official Python image: what is proved are the
# Dockerfile's steps and what they make, not the official image itself.
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$project"

fail() { echo "image.sh: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "needs root: debootstrap and buildah's chroot isolation do"
for tool in buildah debootstrap; do
  command -v "$tool" > /dev/null || fail "$tool is missing: apt-get install buildah debootstrap"
done
[ -x .venv/bin/python ] || fail "no .venv: run make test first"

from="$(awk '$1 == "FROM" { print $2; exit }' Dockerfile)"
suite="${from##*-}"
version="${from##*:}"; version="${version%%-*}"

made="$(mktemp -d "${TMPDIR:-/tmp}/afterspin-image.XXXXXX")"
base="${BASE:-$made/base}"
# shellcheck disable=SC2064
trap "rm -rf --one-file-system '$made'" EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export BUILDAH_ISOLATION=chroot
images() { timeout 600 buildah --storage-driver vfs --root "$made/storage" --runroot "$made/run" "$@"; }
seconds() { date +%s; }

start=$(seconds)
if [ ! -e "$base/usr/local/bin/python" ]; then
  # Beside its place first: an interrupted one is never taken for a base.
  rm -rf --one-file-system "$base.making"
  timeout 600 debootstrap --variant=minbase --include=python3,python3-pip,ca-certificates "$suite" "$base.making" \
    > "$made/debootstrap.log" || { tail "$made/debootstrap.log" >&2; fail "debootstrap failed"; }
  # As in the official image: the interpreter's name, and nothing that only installing needed.
  ln -s /usr/bin/python3 "$base.making/usr/local/bin/python"
  rm -rf "$base.making"/{var/cache/apt,var/lib/apt/lists,usr/share/{doc,man,locale}}/*
  mv "$base.making" "$base"
fi
found="$(chroot "$base" python -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
[ "$found" = "$version" ] || fail "$from was asked for, and $suite has Python $found"
container="$(images from scratch)"
images add --quiet "$container" "$base" / > /dev/null
images commit --quiet --rm "$container" "docker.io/library/$from" > /dev/null
echo "base             $suite with Python $found in the place of $from, $(($(seconds) - start)) s"

start=$(seconds)
certificates=/etc/ssl/certs/ca-certificates.crt
images bud --pull-never --format docker --volume "$certificates:$certificates:ro" --tag afterspin . \
  > "$made/build.log" 2>&1 || { tail -40 "$made/build.log" >&2; fail "the build failed"; }
echo "build            $(($(seconds) - start)) s"

.venv/bin/python -m deploy.try_image afterspin --root "$made/storage" --runroot "$made/run"
