# The daemon and its tools in one small image. Plain Dockerfile syntax: the classic
# builder takes it as well as BuildKit.
#
#   docker build -t todo-backend .
#   docker build -t todo-backend --build-arg TODOCTL_COMMIT="$(git rev-parse HEAD)" .
#
# RUST_IMAGE and RUNTIME_IMAGE may name mirrors of the same images. BUILD may name an image that
# has /todoctl already: with BuildKit nothing is compiled then.
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot
ARG BUILD=build

FROM ${RUNTIME_IMAGE} AS runtime


# What the daemon runs on: glibc, certificates, time zones. Its one user may write /tmp and
# /data, and nothing else.
FROM ${RUST_IMAGE} AS rootfs
COPY --from=runtime / /rootfs/
RUN rm -rf /rootfs/home /rootfs/root /rootfs/var/tmp /rootfs/var/cache \
    && echo 'appuser:x:1000:1000:todoctl:/data:/sbin/nologin' > /rootfs/etc/passwd \
    && echo 'appuser:x:1000:' > /rootfs/etc/group \
    && find /rootfs -perm -0002 ! -type l -exec chmod o-w {} + \
    && chmod 1777 /rootfs/tmp \
    && install -d -m 0750 /data


# Writes the list of dependencies, with their versions, into the binary: an SBOM that
# scanners read (`cargo audit bin`, trivy, syft).
FROM ${RUST_IMAGE} AS auditable
RUN cargo install cargo-auditable --version 0.7.7 --locked --debug --root /auditable


FROM ${RUST_IMAGE} AS build
COPY --from=auditable /auditable/bin/cargo-auditable /usr/local/bin/
WORKDIR /build

# The dependencies first, as a layer of their own: an edit of our code does not build
# them again. The image's own toolchain is used (rust-toolchain.toml stays out of the
# context: its clippy and rustfmt are not needed here).
# torture is a member of the workspace, and not compiled.
COPY Cargo.toml Cargo.lock ./
COPY torture/Cargo.toml torture/Cargo.toml
RUN mkdir -p src build torture/src \
    && echo 'fn main() {}' | tee src/main.rs build/build.rs > torture/src/main.rs \
    && : > src/lib.rs \
    && cargo auditable build --profile dist --locked \
    && rm -r src build

COPY build build
COPY migrations migrations
COPY src src
ARG TODOCTL_COMMIT=
# The files keep their dates, which may be older than the empty crate built above.
RUN touch build/build.rs src/main.rs src/lib.rs \
    && cargo auditable build --profile dist --locked \
    && cp target/dist/todoctl /todoctl


FROM ${BUILD} AS compiled


FROM scratch
COPY --from=rootfs /rootfs/ /
COPY --from=rootfs --chown=1000:1000 /data /data
COPY --from=compiled /todoctl /usr/local/bin/todoctl

USER 1000:1000
WORKDIR /data
# The embedded database and its generated secrets, when DATABASE_URL is not set.
VOLUME /data
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    HOST=0.0.0.0 \
    TODOCTL_DATA_DIR=/data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 \
    CMD ["/usr/local/bin/todoctl", "health"]
ENTRYPOINT ["/usr/local/bin/todoctl"]
CMD ["serve"]

ARG TODOCTL_COMMIT=
ARG TODOCTL_VERSION=0.1.0
LABEL org.opencontainers.image.title="todoctl" \
      org.opencontainers.image.description="A todo API daemon and the toolkit that runs it" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${TODOCTL_VERSION}" \
      org.opencontainers.image.revision="${TODOCTL_COMMIT}"
