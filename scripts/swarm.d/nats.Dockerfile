# A server of the queue on a test Swarm. Bookworm's NATS is too old; trixie's
# is one program that runs on bookworm as well.
FROM debian:bookworm-slim
COPY nats /usr/local/bin/fetch
RUN /usr/local/bin/fetch
ENTRYPOINT ["nats-server"]
