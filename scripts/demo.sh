#!/usr/bin/env bash
# The guided demo: from a prompt to a picture that grows, is kept in a project file and exported. Usage: demo.sh [FOLDER]
# OUTFRAME names the program; everything lands in FOLDER (default out/demo).
set -euo pipefail
cd "$(dirname "$0")/.."
outframe=${OUTFRAME:-target/release/outframe}
folder=${1:-out/demo}
mkdir -p "$folder"
project=$folder/seaside.outframe
rm -f "$project" "$folder"/*.png

step() { printf '\n%s\n  $ outframe %s\n' "$1" "${*:2}"; shift; "$outframe" "$@"; }

step "1. A picture from a prompt, made on this machine by the starter model" \
    generate "sunset over a calm sea, orange and pink sky" --seed 4 --project "$project"
"$outframe" export "$project" --out "$folder/1-generated.png" --quiet >/dev/null
step "2. The picture grows past its frame to the right" extend "$project" --right 128 --seed 21
"$outframe" export "$project" --out "$folder/2-right.png" --quiet >/dev/null
step "3. ... and to the left, and the sky rises" extend "$project" --left 128 --up 96 --seed 22
"$outframe" export "$project" --out "$folder/3-extended.png" --quiet >/dev/null
step "4. The last step is taken back and done again: nothing is ever lost" undo "$project"
step "   ..." redo "$project"
step "5. The finished picture as a file" export "$project" --out "$folder/4-finished.png"
step "6. What the project file keeps" info "$project"

cat <<TXT

Done. Look at:
  $folder/1-generated.png   the picture as it was generated
  $folder/2-right.png       extended to the right
  $folder/3-extended.png    the same picture, extended on three sides; every pixel of the first is unchanged in it
  $folder/4-finished.png    the export after undo and redo: the same bytes
  $project  the project: pictures, prompts, seeds and history in one file
TXT
cmp "$folder/3-extended.png" "$folder/4-finished.png"
