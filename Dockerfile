# Skep itself. `make image` builds it from the release binary:
#
#   docker run -v /var/run/docker.sock:/var/run/docker.sock -p 8080:8080 skep
FROM debian:bookworm-slim
COPY skep /usr/local/bin/skep
VOLUME /var/lib/skep
EXPOSE 8080
ENTRYPOINT ["skep"]
CMD ["serve", "--listen", "0.0.0.0:8080"]
