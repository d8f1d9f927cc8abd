#!/bin/sh
# Runs a command beside a Docker daemon: the one that is there, or one of its own that ends with the command.
#   sandboxes/images/with-docker.sh pytest tests/test_sandbox_docker.py
# With DOCKER_OPTIONAL=1 the command is run without one where none can be had.
set -eu

answers() { .venv/bin/python -c 'import docker; docker.from_env(timeout=5).ping()' >/dev/null 2>&1; }

without() {
    [ "${DOCKER_OPTIONAL:-}" = 1 ] || exit 1
    unset DOCKER_HOST
    code=0
    "$@" || code=$?
    exit $code
}

if answers; then exec "$@"; fi

if ! command -v dockerd >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "No Docker daemon answers, and none can be installed here: install Docker, or set DOCKER_HOST." >&2
        without "$@"
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends docker.io \
        >/dev/null || without "$@"
    if answers; then exec "$@"; fi # the package may have started one
fi
if [ "$(id -u)" != 0 ]; then
    echo "No Docker daemon answers, and only root can start one: sudo systemctl start docker, or set DOCKER_HOST." >&2
    without "$@"
fi

place=$(mktemp -d /tmp/agentrl-docker.XXXXXX)
export DOCKER_HOST="unix://$place/docker.sock"
daemon=

finish() {
    [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; }
    rm -rf "$place"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Without a bridge no firewall is needed; vfs works where no overlay can be mounted.
for driver in "" "--storage-driver=vfs" "--storage-driver=vfs --cgroup-parent=/agentrl"; do
    # shellcheck disable=SC2086
    dockerd --bridge=none --iptables=false --ip6tables=false $driver --host="$DOCKER_HOST" --pidfile="$place/pid" \
        --data-root="$place/data" --exec-root="$place/exec" >"$place/log" 2>&1 &
    daemon=$!
    tries=0
    while [ $tries -lt 60 ] && kill -0 "$daemon" 2>/dev/null; do
        if answers; then
            code=0
            "$@" || code=$?
            exit $code
        fi
        tries=$((tries + 1))
        sleep 0.5
    done
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    daemon=
    echo "dockerd ${driver:-with its defaults} did not start:" >&2
    tail -n 5 "$place/log" >&2
done
without "$@"
