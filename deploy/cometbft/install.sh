#!/usr/bin/env bash
# Builds the pinned CometBFT into .tools/bin of this project, unless it is there already.
# The version stands in one place: src/parley/ledger/engines/cometbft/binary.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^VERSION: Final = "\(.*\)"$/\1/p' src/parley/ledger/engines/cometbft/binary.py)
test -n "$version" || { echo "no VERSION in binary.py" >&2; exit 1; }
binary=.tools/bin/cometbft
if [ -x "$binary" ] && [ "$("$binary" version)" = "$version" ]; then
    exit 0
fi
command -v go >/dev/null || { echo "CometBFT $version is built with Go 1.25 or newer, which is not on the PATH" >&2; exit 1; }
echo "building CometBFT $version into .tools/bin (a minute or two, once)"
GOBIN="$PWD/.tools/bin" go install "github.com/cometbft/cometbft/cmd/cometbft@v$version"
test "$("$binary" version)" = "$version"
