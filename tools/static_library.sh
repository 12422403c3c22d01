#!/bin/sh
#
# Makes a static library of one object, in which only the symbols of a version script are global.
#
#     tools/static_library.sh OUTPUT MAP PART.a...
#
# An archive of many objects would give a program all their names, list_init and cache_new and a
# thousand more, to collide with its own. So the parts are linked into one object first.
set -eu

output=$1
map=$2
shift 2
object=${output%.a}.o

sed -n 's/^    \(hf_[a-z0-9_]*\);$/\1/p' "$map" >"$output.symbols"
"${LD:-ld}" -r --whole-archive "$@" --no-whole-archive -o "$object"
"${OBJCOPY:-objcopy}" --keep-global-symbols="$output.symbols" "$object"
rm -f "$output"
"${AR:-ar}" crsD "$output" "$object"
rm -f "$object" "$output.symbols"
