#!/usr/bin/env bash
# usage: tools/cross/make_sysroot.sh ARCHITECTURE FOLDER
# Puts the libraries that libradllm needs on another Debian architecture (arm64) into FOLDER and writes
# FOLDER/cross.ini, the meson cross file: for building with Debian's cross compiler and running under
# qemu-user. The machine's own packages and its list of architectures stay as they are: apt works on
# lists and a cache inside FOLDER, from the sources that the machine has, and packages are unpacked
# there, not installed.
set -euo pipefail

architecture=${1:?usage: make_sysroot.sh ARCHITECTURE FOLDER}
folder=${2:?usage: make_sysroot.sh ARCHITECTURE FOLDER}
case $architecture in
arm64) triplet=aarch64-linux-gnu family=aarch64 emulator=qemu-aarch64-static ;;
*)
    printf 'make_sysroot: %s is not known here; known: arm64\n' "$architecture" >&2
    exit 2
    ;;
esac
packages=(libjansson4 libjansson-dev libpcre2-8-0 libpcre2-dev libutf8proc2 libutf8proc-dev libnettle8
    nettle-dev check libsubunit0 libsubunit-dev)

mkdir -p "$folder"/{lists/partial,cache/archives/partial,root}
folder=$(cd "$folder" && pwd)
[ ! -f "$folder/complete" ] || exit 0

apt=(apt-get -q -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture"
    -o "Dir::State::Lists=$folder/lists" -o "Dir::State::status=$folder/status"
    -o "Dir::Cache=$folder/cache" -o "Dir::Cache::archives=$folder/cache/archives"
    -o APT::Sandbox::User=root -o Debug::NoLocking=1)
: >"$folder/status"
"${apt[@]}" update
(cd "$folder/cache/archives" && "${apt[@]}" download "${packages[@]}")
for package in "$folder"/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$folder/root"
done

cat >"$folder/cross.ini" <<END
[binaries]
c = '$triplet-gcc'
ar = '$triplet-ar'
strip = '$triplet-strip'
nm = '$triplet-nm'
pkgconfig = 'pkg-config'
exe_wrapper = ['$emulator', '-L', '/usr/$triplet', '-E',
               'LD_LIBRARY_PATH=$folder/root/usr/lib/$triplet']

[properties]
pkg_config_libdir = '$folder/root/usr/lib/$triplet/pkgconfig'
sys_root = '$folder/root'

[built-in options]
c_args = ['-isystem', '$folder/root/usr/include', '-isystem', '$folder/root/usr/include/$triplet']
c_link_args = ['-L$folder/root/usr/lib/$triplet', '-Wl,-rpath-link,$folder/root/usr/lib/$triplet']

[host_machine]
system = 'linux'
cpu_family = '$family'
cpu = '$family'
endian = 'little'
END
rm -rf "$folder/lists" "$folder/cache"
touch "$folder/complete"
