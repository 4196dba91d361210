"""Times docker-py's containers.run through sockets, in turns: children.py IMAGE ROUNDS NAME=SOCKET:COUNT...

Prints a line of JSON for each: its name, whether it ran detached and without a network, and its times in seconds.
"""

import json
import sys
import time

import docker

image, rounds, targets = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
command = ["/backend", "echo", "hello"]


def run(client, detach, network):
    began = time.perf_counter()
    if detach:
        container = client.containers.run(image, command, detach=True, **network)
        took = time.perf_counter() - began
        container.wait()
        container.remove()
    else:
        said = client.containers.run(image, command, remove=True, **network)
        took = time.perf_counter() - began
        assert said == b"hello\n", said
    return took


clients = []
for target in targets:
    name, rest = target.split("=", 1)
    socket, count = rest.rsplit(":", 1)
    clients.append((name, docker.DockerClient(base_url="unix://" + socket), int(count)))

for alone in (False, True):
    network = {"network_mode": "none"} if alone else {}
    for detach in (False, True):
        times = {name: [] for name, _, _ in clients}
        for _, client, _ in clients:
            run(client, detach, network)
        for _ in range(rounds):
            for name, client, count in clients:
                times[name] += [run(client, detach, network) for _ in range(count)]
        for name, taken in times.items():
            print(json.dumps({"name": name, "detach": detach, "alone": alone, "times": taken}), flush=True)
