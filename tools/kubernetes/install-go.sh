#!/usr/bin/env bash
# Installs a Go that can fetch the version of go.mod by itself (>= 1.21), when there is none: Debian's, of its
# backports, since Debian 12 has 1.19. Needs root.
set -euo pipefail

# Whether the go on the PATH is new enough.
has_go() {
  command -v go >/dev/null && [[ $(go env GOVERSION 2>/dev/null) =~ ^go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 21))
}

has_go && exit
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
sources=$(mktemp --suffix=.list)
trap 'rm -f "$sources"' EXIT
chmod 644 "$sources"
[[ ! -f /etc/apt/sources.list ]] || cat /etc/apt/sources.list >"$sources"
# The mirror that this machine uses already.
mirror=$(apt-get indextargets --format '$(REPO_URI)' "Release: $codename" 'Origin: Debian' 'Identifier: Packages' | head -n 1)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] $mirror $codename-backports main" >>"$sources"
apt=(apt-get -q -y -o "Dir::Etc::SourceList=$sources")
"${apt[@]}" update
"${apt[@]}" install --no-install-recommends -t "$codename-backports" golang-go ca-certificates
has_go
