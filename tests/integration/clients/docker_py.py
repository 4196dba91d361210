"""What people do with docker-py; it prints a line for each."""

import io
import tarfile

import docker

IMAGE = "debian:bookworm-slim"
client = docker.from_env()
assert client.ping()
print("run", client.containers.run(IMAGE, ["echo", "hi"], remove=True))

container = client.containers.run(IMAGE, ["sleep", "300"], name="py", detach=True, environment={"A": "b"})
container.reload()
print("detached", container.status, container.name, [c.name for c in client.containers.list()])
print("exec", container.exec_run(["sh", "-c", "echo $A; exit 3"]))
# Who starts it says how its output comes: here in pieces that say of which stream they are.
made = client.api.exec_create(container.id, ["echo", "tty"], tty=True)
print("framed", client.api.exec_start(made["Id"]))

packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w") as archive:
    entry = tarfile.TarInfo("file")
    entry.size = 4
    archive.addfile(entry, io.BytesIO(b"text"))
assert container.put_archive("/root", packed.getvalue())
pieces, stat = container.get_archive("/root/file")
with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
    print("archive", stat["name"], archive.extractfile("file").read())
print("changes", [change for change in container.diff() if change["Path"].startswith("/root")])

container.stop(timeout=0)
print("ended", container.wait()["StatusCode"], container.attrs["HostConfig"]["NetworkMode"])
container.remove()
try:
    client.containers.run(IMAGE, ["sh", "-c", "echo no >&2; exit 7"], remove=True)
except docker.errors.ContainerError as error:
    print("failed", error.exit_status, error.stderr)
try:
    client.containers.run(IMAGE, "true", privileged=True)
except docker.errors.APIError as error:
    print("refused", error.status_code)
print("left", client.containers.list(all=True))
