# The registry of a test Swarm: open on 5000, with a password on 5001 (user
# and password are both "skep").
FROM debian:bookworm-slim
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends docker-registry apache2-utils \
    && rm -rf /var/lib/apt/lists/* \
    && htpasswd -Bbn skep skep >/etc/docker/registry/htpasswd
COPY registry /usr/local/bin/registry
ENTRYPOINT ["/usr/local/bin/registry"]
