# shellcheck shell=bash
# A Docker engine and the base images, for scripts/docker-test.
#
#   docker_engine   an engine that answers; installed and started if need be
#   docker_images   the base images that the builds want; exports POSTGRES_IMAGE
#
# Both return 1 after saying why there is none.
#
# A workplace may bring its own engine and images, for instance where no registry can be
# reached: executables named docker-engine and base-images in the folder
# TODOCTL_DOCKER_TOOLS, by default ../shared/tools beside the repository.

docker_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly docker_lib
readonly docker_tools=${TODOCTL_DOCKER_TOOLS:-$docker_lib/../../../shared/tools}

docker_say() { printf 'docker: %s\n' "$*" >&2; }

docker_answers() { command -v docker >/dev/null && timeout 20 docker info >/dev/null 2>&1; }

docker_engine() {
    if [[ -x $docker_tools/docker-engine ]]; then
        "$docker_tools/docker-engine" --plugins || docker_say 'docker-engine did not succeed'
    fi
    if docker_answers; then return 0; fi
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        docker_say "'docker info' fails: start the engine, or install one (Debian: sudo apt-get install docker.io docker-compose)"
        return 1
    fi
    if ! command -v dockerd >/dev/null; then
        docker_say 'installing an engine with apt-get'
        "$docker_lib/apt-install" docker.io docker-compose iptables >&2 || docker_say 'apt-get failed'
    fi
    docker_start
}

# Starts dockerd where the package did not. It outlives this script, as a service would.
docker_start() {
    local log try
    if docker_answers; then return 0; fi
    if ! command -v dockerd >/dev/null; then
        docker_say 'no dockerd, and none could be installed'
        return 1
    fi
    log=$(mktemp "${TMPDIR:-/tmp}/dockerd.XXXXXX.log")
    docker_say "starting dockerd (log: $log)"
    setsid dockerd >"$log" 2>&1 </dev/null &
    for ((try = 0; try < 60; try++)); do
        if docker_answers; then return 0; fi
        sleep 1
    done
    docker_say 'dockerd does not answer:'
    tail -n 15 "$log" >&2
    return 1
}

docker_have() { docker image inspect "$1" >/dev/null 2>&1 || docker pull -q "$1" >/dev/null 2>&1; }

docker_images() {
    local image
    local wanted=(rust:1.95-slim-bookworm gcr.io/distroless/cc-debian12:nonroot
        debian:bookworm-slim redis:7-bookworm)
    if [[ -x $docker_tools/base-images ]]; then
        "$docker_tools/base-images" || docker_say 'base-images did not succeed'
    fi
    for image in "${wanted[@]}"; do
        if ! docker_have "$image"; then
            docker_say "the image $image is not here and cannot be pulled"
            return 1
        fi
    done
    for image in ${POSTGRES_IMAGE:-postgres:17-bookworm postgres:15-bookworm}; do
        if docker image inspect "$image" >/dev/null 2>&1; then
            export POSTGRES_IMAGE=$image
            return 0
        fi
    done
    export POSTGRES_IMAGE=${POSTGRES_IMAGE:-postgres:17-bookworm}
    if ! docker_have "$POSTGRES_IMAGE"; then
        docker_say "the image $POSTGRES_IMAGE is not here and cannot be pulled"
        return 1
    fi
}
