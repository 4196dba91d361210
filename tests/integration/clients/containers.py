"""What people do with testcontainers; it prints a line for each."""

from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

command = "sh -c 'echo ready; sleep 60'"
with DockerContainer("debian:bookworm-slim").with_env("A", "b").with_command(command) as container:
    wait_for_logs(container, "ready", timeout=60)
    ended = container.exec(["sh", "-c", "echo $A"])
    print("exec", ended.exit_code, ended.output)
