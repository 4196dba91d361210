"""Counts the words of a book. Too many lines for one container are split over
two, which split again: each is this same function, started through Docker's
own API by the stock client."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import docker

BOOK = "/usr/share/common-licenses/GPL-3"
ENOUGH = 200  # lines that one container counts by itself


def count(lines):
    return sum(len(re.findall(r"\w+", line)) for line in lines)


def in_a_container(client, start, end):
    counted = client.containers.run("count", [str(start), str(end)], remove=True)
    return int(counted)


def main():
    with open(BOOK) as book:
        lines = book.readlines()
    start, end = (int(word) for word in sys.argv[1:]) if sys.argv[1:] else (0, len(lines))
    if end - start <= ENOUGH:
        return count(lines[start:end])
    middle = (start + end) // 2
    halves = [(start, middle), (middle, end)]
    try:
        client = docker.from_env()
        with ThreadPoolExecutor() as threads:
            return sum(threads.map(lambda half: in_a_container(client, *half), halves))
    except (docker.errors.DockerException, ValueError) as refusal:
        # The grant is used up, or ends at this depth: what is left is counted here.
        print(f"lines {start} to {end} are counted in one piece: {refusal}", file=sys.stderr)
        return count(lines[start:end])


print(main())
