# A node of a test Swarm: a Docker engine in a container (see scripts/swarm).
FROM debian:bookworm-slim
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        docker.io iptables iproute2 procps curl ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY node /usr/local/bin/node
VOLUME /var/lib/docker
ENTRYPOINT ["/usr/local/bin/node"]
