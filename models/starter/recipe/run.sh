#!/bin/sh
# The starter model's recipe as single commands, always at the lowest priority.
#
#   run.sh [--python PATH] train [OPTIONS]    prepare the data once, then train until stopped
#   run.sh [--python PATH] eval [OPTIONS]     numbers and contact sheets
#   run.sh [--python PATH] export [OPTIONS]   write the averaged weights as a model folder
#   run.sh [--python PATH] test [OPTIONS]     the recipe's own tests
#   run.sh [--python PATH] COMMAND ...        any command of `python -m recipe`
#   run.sh stop                               ask a running training to save and end
#
# PATH is a Python that has what requirements.txt names.  Without it (and without
# OUTFRAME_STARTER_PYTHON) a virtual environment is made once in the cache folder; on Linux
# that downloads several GB, because the usual torch package carries its CUDA libraries.
# OUTFRAME_STARTER_WORK chooses the folder for data and checkpoints, OUTFRAME_STARTER_PICTURES
# how many pictures are prepared (12000).
set -eu

recipe=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/outframe
pictures=${OUTFRAME_STARTER_PICTURES:-12000}
work=${OUTFRAME_STARTER_WORK:-$cache/starter-train}
python=${OUTFRAME_STARTER_PYTHON:-}

if [ "${1:-}" = --python ]; then
    python=$2
    shift 2
fi
if [ $# -eq 0 ]; then
    sed -n '2,/^set -eu/p' "$0" | sed '$d; s/^# \{0,1\}//'
    exit 2
fi
command=$1
shift

if [ "$command" = stop ]; then
    mkdir -p "$work"
    : > "$work/stop"
    echo "training will save and end within a step"
    exit 0
fi

if [ -z "$python" ]; then
    venv=$cache/starter-venv
    python=$venv/bin/python
    if ! cmp -s "$recipe/requirements.txt" "$venv/requirements.txt"; then
        echo "making a Python environment in $venv" >&2
        python3 -m venv "$venv"
        "$python" -m pip install --quiet --upgrade pip
        "$python" -m pip install -r "$recipe/requirements.txt"
        cp "$recipe/requirements.txt" "$venv/requirements.txt"
    fi
fi
command -v "$python" > /dev/null || { echo "no such Python: $python" >&2; exit 1; }

case $python in
    /*) ;;
    */*) python=$PWD/$python ;;
esac

low='nice -n 19'
if command -v ionice > /dev/null; then
    low="$low ionice -c 3"
fi
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" PYTHONUNBUFFERED=1
cd "$recipe/.."
mkdir -p "$work"

case $command in
    train)
        rm -f "$work/stop"
        $low "$python" -m recipe prepare --work "$work" --pictures "$pictures"
        exec $low "$python" -m recipe train --work "$work" \
            --stop-file "$work/stop" --pause-file "$work/pause" "$@"
        ;;
    eval)
        if [ ! -e "$work/classifier.pt" ]; then
            $low "$python" -m recipe prepare --work "$work" --pictures "$pictures" --render-only
        fi
        exec $low "$python" -m recipe eval --work "$work" "$@"
        ;;
    export)
        case " $* " in
            *" --out "*) ;;
            *) set -- --out "$work/model" "$@" ;;
        esac
        exec $low "$python" -m recipe export --work "$work" "$@"
        ;;
    test)
        exec $low "$python" -m pytest -q -p no:cacheprovider "$recipe/tests" "$@"
        ;;
    *)
        exec $low "$python" -m recipe "$command" "$@"
        ;;
esac
