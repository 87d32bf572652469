# The daemon and its tools in one small image. Plain Dockerfile syntax: the classic
# builder takes it as well as BuildKit.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# The dependencies first, as a layer of their own: an edit of our code does not
# build them again. The image's own toolchain is used (rust-toolchain.toml stays
# out of the context: its clippy and rustfmt are not needed here).
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && : > src/lib.rs \
    && cargo build --release --locked \
    && rm -r src

COPY build.rs build.rs
COPY migrations migrations
COPY src src
# The files keep their dates, which may be older than the empty crate built above.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked

RUN useradd --uid 1000 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin appuser \
    && mkdir /data


FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="todoctl" \
      org.opencontainers.image.description="A todo API daemon and the toolkit that runs it" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

COPY --from=build /etc/passwd /etc/group /etc/
COPY --from=build --chown=1000:1000 /data /data
COPY --from=build /build/target/release/todoctl /usr/local/bin/todoctl

USER 1000:1000
# The SQLite database and its generated secrets, when DATABASE_URL is not set.
VOLUME /data
WORKDIR /data
ENV HOST=0.0.0.0 \
    TODOCTL_DATA_DIR=/data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s CMD ["/usr/local/bin/todoctl", "health"]
ENTRYPOINT ["/usr/local/bin/todoctl"]
CMD ["serve"]
