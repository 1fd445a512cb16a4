#!/usr/bin/env bash
# The guided demo: from a prompt to a picture that grows, is kept in a project file and exported, and to a film of it. Usage: demo.sh [FOLDER]
# OUTFRAME names the program; everything lands in FOLDER (default out/demo).
set -euo pipefail
cd "$(dirname "$0")/.."
outframe=${OUTFRAME:-${CARGO_TARGET_DIR:-target}/release/outframe}
folder=${1:-out/demo}
mkdir -p "$folder"
project=$folder/seaside.outframe
rm -f "$project" "$folder"/*.png "$folder"/*.mp4

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
step "6. A region is made anew; beside it nothing changes" \
    vary "$project" --rect 40,140,96,72 --prompt "dark rocks in a calm sea" --strength 0.7 --takes 2 --seed 5
"$outframe" export "$project" --out "$folder/5-varied.png" --quiet >/dev/null
step "7. A camera is directed over the picture: it goes to the right and up, and closer" \
    shot "$project" add --name "Over the sea" --truck 0..0.35 --pedestal 0.1 --zoom 1.0..1.25 --seconds 3 --easing easy-ease
step "8. What the camera will see and the picture lacks" cover "$project" "Over the sea" --dry-run
step "   ... is painted, and nothing else" cover "$project" "Over the sea" --seed 31
step "9. The film" film "$project" "Over the sea" --out "$folder/6-over-the-sea.mp4"
step "10. What the project file keeps" info "$project"

cat <<TXT

Done. Look at:
  $folder/1-generated.png   the picture as it was generated
  $folder/2-right.png       extended to the right
  $folder/3-extended.png    the same picture, extended on three sides; every pixel of the first is unchanged in it
  $folder/4-finished.png    the export after undo and redo: the same bytes
  $folder/5-varied.png      a region of it made anew
  $folder/6-over-the-sea.mp4  three seconds of film; what the camera sees beyond the picture was painted for it
  $project  the project: pictures, prompts, seeds and history in one file
TXT
cmp "$folder/3-extended.png" "$folder/4-finished.png"
