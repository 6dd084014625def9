# Sourced by the scripts that take files out of Debian packages without installing anything.
#
#   debian_mirror                           prints the base address of this machine's own Debian mirror
#   debian_unpack PACKAGE SUITE FOLDER      unpacks one package of that release, and only it, into FOLDER
#   debian_rootfs FOLDER CACHE PACKAGE...   unpacks packages of this release with all they depend on into FOLDER
#
# apt does the downloading, so its configuration (mirror, proxy) and its signature checks hold.

debian_mirror() {
  local mirror
  # Any source that carries a "main" component of a Debian release, security updates left out.
  mirror=$(apt-get indextargets --format '$(SITE) $(REPO_URI) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk '$3 == "main" && $2 ~ /\/debian\/?$/ { print $2; exit }')
  if [[ -z $mirror ]]; then
    echo "found no Debian mirror in apt's sources (apt-get indextargets); this needs a Debian machine" >&2
    return 1
  fi
  printf '%s\n' "$mirror"
}

# Only these sources, their own lists, and nothing of the system's state.
debian_apt() {
  local state=$1
  shift
  apt-get -qq -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache::pkgcache= \
    -o Dir::Cache::srcpkgcache= -o Dir::Cache::archives="$state/archives" -o Debug::NoLocking=1 \
    -o APT::Sandbox::User=root -o APT::Install-Recommends=false "$@"
}

debian_state() {
  local state=$1
  shift
  mkdir -p "$state/lists/partial" "$state/archives/partial"
  : >"$state/status"
  printf '%s\n' "$@" >"$state/sources.list"
}

debian_unpack() {
  local package=$1 suite=$2 folder=$3 mirror stage keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  mirror=$(debian_mirror) || return 1
  mkdir -p "$(dirname "$folder")"
  stage=$(mktemp -d "$folder.XXXXXX")
  echo "fetching Debian's package $package ($suite) through apt"
  debian_state "$stage/apt" "deb $([[ -r $keyring ]] && echo "[signed-by=$keyring] ")$mirror $suite main"
  debian_apt "$stage/apt" update &&
    (cd "$stage" && debian_apt "$stage/apt" download "$package") &&
    dpkg-deb -x "$stage/$package"_*.deb "$stage/root" || {
    rm -rf "$stage"
    echo "could not fetch $package of Debian $suite" >&2
    return 1
  }
  rm -rf "$folder"
  mv -T "$stage/root" "$folder"
  rm -rf "$stage"
}

# debian_rootfs unpacks files; no package's own scripts run. Enough for programs, not for a system one logs in to.
debian_rootfs() {
  local folder=$1 cache=$2 state=$2/apt archive name
  shift 2
  mkdir -p "$state/lists/partial" "$state/archives/partial" "$folder"
  : >"$state/status"
  # First with what `apt-get update` brought the system; where that is missing, with lists of our own.
  local apt=(apt-get -qq -y -o Dir::State::status="$state/status" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
    -o Dir::Cache::archives="$state/archives" -o Debug::NoLocking=1 -o APT::Sandbox::User=root
    -o APT::Install-Recommends=false)
  if ! "${apt[@]}" --download-only install "$@" >/dev/null 2>"$state/errors"; then
    apt+=(-o Dir::State::Lists="$state/lists")
    "${apt[@]}" update >/dev/null 2>>"$state/errors" || true
    "${apt[@]}" --download-only install "$@" >/dev/null 2>>"$state/errors" || {
      cat "$state/errors" >&2
      echo "could not download $* with apt" >&2
      return 1
    }
  fi
  # What apt would install on an empty system, as the names of the archives it downloaded (epoch colons are escaped).
  "${apt[@]}" --simulate install "$@" | awk -v folder="$state/archives" '
    $1 == "Inst" { name = $2; version = $3; sub(/:.*/, "", name); sub(/^\(/, "", version); gsub(/:/, "%3a", version)
      for (i = 4; i <= NF; i++) if ($i ~ /^\[[a-z0-9]+\]\)/) { architecture = $i; gsub(/[][)]/, "", architecture) }
      print folder "/" name "_" version "_" architecture ".deb" }' >"$state/closure"
  [[ -s $state/closure ]] || { echo "apt named no package for $*" >&2; return 1; }
  # Merged /usr, as every current Debian has it: the links come first, so that /bin/x lands in /usr/bin.
  for name in bin sbin lib lib64; do
    mkdir -p "$folder/usr/$name"
    [[ -e $folder/$name ]] || ln -s "usr/$name" "$folder/$name"
  done
  while read -r archive; do
    dpkg-deb --fsys-tarfile "$archive" | tar -x -C "$folder" --keep-directory-symlink \
      --exclude './usr/share/doc/*' --exclude './usr/share/man/*' --exclude './usr/share/locale/*' \
      --exclude './usr/share/info/*' --exclude './usr/share/lintian/*' ||
      { echo "could not unpack $archive" >&2; return 1; }
  done <"$state/closure"
}

