"""The page that takes a vote. Each request gets a container of its own, so
there is nothing to share, pool or lock: it answers, hands the vote on, ends."""

import http.client
import json
import os
import re
import secrets
import socket
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

CHOICES = {"tea": "Tea", "coffee": "Coffee"}
COOKIE = "voter"
YEAR = 365 * 24 * 3600

with open("vote.html") as page, open("style.css") as style:
    PAGE = page.read().replace("{{style}}", style.read())


def start_container(voter, choice):
    """Starts record-vote as a container, with Docker's own client: the function
    has a Docker socket where its label skep.spawn says so (../socket.yaml)."""
    import docker

    try:
        client = docker.from_env()
        client.containers.run("record-vote", [voter, choice], detach=True)
    except docker.errors.DockerException as refusal:
        # More votes at once than the grant has containers: these are queued.
        print(f"no container for this vote: {refusal}", flush=True)
        hand_on(voter, choice)


def hand_on(voter, choice):
    """Asks Skep to run record-vote some time soon. The 202 means that the vote
    is on disk: nothing here has to wait for the database, or for it to be up."""
    skep = urlsplit(os.environ["SKEP_URL"])
    vote = {"voter": voter, "choice": choice, "cast_at": time.time_ns() // 1000}
    connection = http.client.HTTPConnection(skep.hostname, skep.port or 80, timeout=10)
    connection.request(
        "POST",
        f"{skep.path.rstrip('/')}/record-vote",
        body=json.dumps(vote),
        headers={"Content-Type": "application/json", "Prefer": "respond-async"},
    )
    status = connection.getresponse().status
    if status != 202:
        raise OSError(f"record-vote was answered with {status} instead of 202")


class Vote(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if urlsplit(self.path).path != "/":
            return self.answer(404, "There is no such page.")
        _, choice = self.voter()
        self.answer(200, f"You voted for {CHOICES[choice].lower()}." if choice else "", choice)

    def do_POST(self):
        # A form of one field is short; whatever is longer is not ours.
        length = int(self.headers.get("Content-Length") or 0)
        form = parse_qs(self.rfile.read(min(length, 1024)).decode(errors="replace"))
        choice = form.get("choice", [""])[0]
        voter, before = self.voter()
        if choice not in CHOICES:
            return self.answer(400, "Choose tea or coffee.", before)
        voter = voter or secrets.token_hex(16)
        try:
            start_container(voter, choice) if "DOCKER_HOST" in os.environ else hand_on(voter, choice)
        except (OSError, http.client.HTTPException) as error:
            self.log_error("%s", error)
            return self.answer(503, "Your vote could not be taken. Please try again.", before)
        verb = "changed your vote to" if before not in (None, choice) else "voted for"
        self.answer(200, f"You {verb} {CHOICES[choice].lower()}.", choice, f"{voter}.{choice}")

    def voter(self):
        """Who asks and what they last chose, from the cookie."""
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        match = cookie and re.fullmatch(r"([0-9a-f]{32})\.(tea|coffee)", cookie.value)
        return match.groups() if match else (None, None)

    def answer(self, status, text, choice=None, cookie=None):
        values = {
            "status": text,
            "result_url": os.environ.get("RESULT_URL", "/result"),
            "answered_by": socket.gethostname(),
            **{name: str(name == choice).lower() for name in CHOICES},
        }
        body = re.sub(r"{{(\w+)}}", lambda field: values[field[1]], PAGE).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if cookie:
            path = self.headers.get("X-Forwarded-Prefix", "/")
            self.send_header(
                "Set-Cookie", f"{COOKIE}={cookie}; Path={path}; Max-Age={YEAR}; HttpOnly; SameSite=Lax"
            )
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("0.0.0.0", int(os.environ["PORT"])), Vote).serve_forever()
