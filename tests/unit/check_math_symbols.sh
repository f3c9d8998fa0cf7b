#!/bin/sh
# check_math_symbols.sh COMPILER LIBRARY...: no library may import a function of libm but fma and
# sqrt (numeric contract, rule 4): results of the others differ between systems.
set -eu
compiler=$1
shift
libm=$($compiler -print-file-name=libm.so.6)
if [ ! -f "$libm" ]; then
    echo "1..0 # SKIP no libm.so.6 to compare with"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
nm -D --defined-only "$libm" | awk '{ sub(/@.*/, "", $3); print $3 }' | grep -v '^GLIBC' |
    sort -u >"$folder/libm"
echo "1..$#"
number=0
failed=0
for library in "$@"; do
    number=$((number + 1))
    case $library in
    *.a) nm "$library" 2>/dev/null >"$folder/all" ;;
    *) nm -D "$library" >"$folder/all" ;;
    esac
    awk '$1 == "U" { sub(/@.*/, "", $2); print $2 }' "$folder/all" | sort -u >"$folder/imports"
    [ -s "$folder/imports" ] || { echo "Bail out! nm finds no symbols in $library"; exit 1; }
    found=$(comm -12 "$folder/imports" "$folder/libm" | grep -vxE 'fmaf?|sqrtf?' || true)
    if [ -n "$found" ]; then
        echo "not ok $number - $library imports" $found
        failed=1
    else
        echo "ok $number - $library"
    fi
done
exit $failed
