# shellcheck shell=bash
# What ci/setup takes from Debian: packages, the second module system, Apptainer. Functions only; ci/setup sources
# this and brings the rest: die, say, is_root, $scratch.
set -euo pipefail

readonly singularity=/opt/singularity/bin/singularity
readonly env_modules_init=/usr/share/modules/init/bash
readonly lmod_init=/usr/share/lmod/lmod/init/bash

apt() { apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"; }

# A folder that apt's own unprivileged account can download into.
apt_folder() {
    local folder
    folder=$(mktemp -d "${scratch:?}/apt.XXXXXX")
    chmod 755 "$folder"
    ! id _apt >/dev/null 2>&1 || chown _apt "$folder"
    printf '%s' "$folder"
}

# need_apt WHAT: only Debian's tools are used to install; say what is to be had in another way where there are none.
need_apt() {
    command -v apt-get >/dev/null ||
        die "this machine has no apt-get. Install this in its own way, then run ci/setup again: $1"
}

install_packages() {
    local packages=("$@")
    if ((${#packages[@]} == 0)); then
        say 'all there'
        return
    fi
    need_apt "${packages[*]}"
    # The tests start daemons of their own, where and when they need them; nothing is to start by being installed.
    if [[ ! -e /usr/sbin/policy-rc.d ]]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
    fi
    apt update || printf 'apt-get update ended badly; trying with the lists that are here\n'
    apt install --yes --no-install-recommends "${packages[@]}"
    say "${packages[*]}"
}

# Debian's packages of the two module systems exclude each other, but their files do not: the second one is unpacked
# beside the first. Neither is switched on for login shells by this; tests source the init file that they mean.
unpack_module_systems() {
    local said='both there' work
    work=$(apt_folder)
    cd "$work"
    if [[ ! -r $lmod_init ]]; then
        need_apt "Lmod, with $lmod_init"
        apt download lmod
        dpkg-deb --fsys-tarfile lmod_*.deb | tar -x -C / --no-same-owner ./usr/share/lmod ./usr/lib/lmod
        said='Lmod unpacked beside Environment Modules'
    fi
    if [[ ! -r $env_modules_init ]]; then
        need_apt "Environment Modules, with $env_modules_init"
        apt download environment-modules
        dpkg-deb --fsys-tarfile environment-modules_*.deb |
            tar -x -C / --no-same-owner ./usr/share/modules ./usr/lib ./etc/environment-modules
        said='Environment Modules unpacked beside Lmod'
    fi
    say "$said"
}

# The address of the Debian mirror that this machine uses for its own release.
debian_mirror() {
    # shellcheck disable=SC2016 # apt's own placeholders, not ours
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian|Debian|//p' | sort -u | sed -n 1p
}

# Apptainer is only in Debian's unstable release, which stays apart from the system's own packages: its index and
# packages are read from a private folder (signatures checked), and it runs on a private copy of the C library.
# It lives outside /usr because /usr is bound into containers. Apptainer finds its files from where it is.
install_apptainer() {
    local target=/opt/singularity work mirror options
    if singularity_works; then
        say "$("$singularity" --version)"
        return
    fi
    [[ ! -e $target || -e $target/.conda-concept ]] ||
        die "$singularity does not work, and $target is not ours. Mend it or move it away, then run ci/setup again."
    need_apt "Apptainer 1.4 or SingularityCE, as $singularity"
    mirror=$(debian_mirror)
    if [[ -z $mirror ]]; then
        apt update
        mirror=$(debian_mirror)
    fi
    [[ -n $mirror ]] ||
        die "this is not Debian (apt knows no Debian mirror). Install Apptainer 1.4 or SingularityCE yourself," \
            "make $singularity a link to it, and run ci/setup again."
    work=$(apt_folder)
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/files" "$work/new"
    printf 'Types: deb\nURIs: %s\nSuites: sid\nComponents: main\nSigned-By: %s\n' \
        "$mirror" /usr/share/keyrings/debian-archive-keyring.gpg >"$work/sid.sources"
    options=(-o "Dir::Etc::sourcelist=$work/sid.sources" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::Etc::preferencesparts=/dev/null -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache")
    apt "${options[@]}" -o APT::Update::Error-Mode=any update
    (
        cd "$work"
        apt "${options[@]}" download apptainer libc6 libseccomp2 libsqlite3-0
        for package in *.deb; do dpkg-deb -x "$package" files; done
    )
    relocate_apptainer "$work/files" "$work/new" "$target"
    rm -rf "$target"
    mkdir -p /opt
    mv "$work/new" "$target"
    chmod 755 "$target"
    "$singularity" --version
    mkdir -p /usr/local/bin
    for name in apptainer singularity; do
        command -v "$name" >/dev/null || ln -sf "$target/bin/$name" /usr/local/bin/
    done
    say "$("$singularity" --version), in $target"
}

# relocate_apptainer FILES NEW TARGET: what Apptainer needs from unpacked packages into NEW, which becomes TARGET.
relocate_apptainer() {
    local files=$1 new=$2 target=$3 libdir interpreter program
    libdir=$(cd "$files" && dirname -- usr/lib/*/apptainer) # usr/lib/x86_64-linux-gnu
    mkdir -p "$new/bin" "$new/etc" "$new/${libdir#usr/}" "$new/lib/private" "$new/var/lib/apptainer/mnt/session"
    cp -a "$files/usr/bin/apptainer" "$new/bin/"
    ln -s apptainer "$new/bin/singularity"
    cp -a "$files/$libdir/apptainer" "$new/${libdir#usr/}/"
    cp -a "$files/etc/apptainer" "$new/etc/"
    cp -a "$files/$libdir"/*.so* "$new/lib/private/"
    # The starter looks for etc and var one level higher than Debian's folder for libraries has them.
    ln -s ../etc "$new/lib/etc"
    ln -s ../var "$new/lib/var"
    for program in "$new/bin/apptainer" "$new/${libdir#usr/}/apptainer/bin/starter"; do
        interpreter=$(basename -- "$(patchelf --print-interpreter "$program")")
        # An old-style RPATH, because that also holds for the libraries' own needs (sqlite wants libm).
        patchelf --set-interpreter "$target/lib/private/$interpreter" \
            --force-rpath --set-rpath "$target/lib/private" "$program"
    done
    : >"$new/.conda-concept"
}
