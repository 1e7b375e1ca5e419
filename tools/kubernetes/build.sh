#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kube-scheduler and kube-controller-manager, in the versions of go.mod,
# into ${BERTH_TOOLS_CACHE:-${XDG_CACHE_HOME:-~/.cache}/berth}/kubernetes-<version> and prints that folder
# (everything else goes to stderr). What is there is not built again; two at once wait for each other.
# Needs Go >= 1.21 on the PATH: an older one than go.mod asks for fetches that by itself.
# The first time takes 10-15 minutes on two cores, 3 GiB of memory and 4 GiB of Go's caches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

version=$(sed -nE 's/^\s*k8s\.io\/kubernetes (v[0-9.]+).*/\1/p' go.mod | head -n 1)
folder=${BERTH_TOOLS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/berth}/kubernetes-$version
mkdir -p "$folder"
exec 9>"$folder/.lock"
flock 9

export CGO_ENABLED=0 GOTOOLCHAIN=auto
major=${version#v} minor=${version#v*.}
info=k8s.io/component-base/version
flags="-s -w -X $info.gitVersion=$version -X $info.gitMajor=${major%%.*} -X $info.gitMinor=${minor%%.*}"

# build NAME PACKAGE: a program appears when it is whole.
build() {
  [[ -x $folder/$1 ]] && return
  echo "building $1 of $2" >&2
  go build -mod=readonly -buildvcs=false -trimpath -ldflags "$flags" -o "$folder/$1.part" "$2" >&2
  mv "$folder/$1.part" "$folder/$1"
}

build etcd go.etcd.io/etcd/server/v3
for program in kube-apiserver kube-scheduler kube-controller-manager; do
  build "$program" "k8s.io/kubernetes/cmd/$program"
done
echo "$folder"
