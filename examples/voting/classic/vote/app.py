"""The page that takes a vote: a server that runs around the clock, with a
thread for each request and a pool of connections to the queue."""

import json
import os
import re
import secrets
import socket
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import redis

CHOICES = {"tea": "Tea", "coffee": "Coffee"}
# Browsers share cookies between the ports of one host, so this variant has a
# name of its own.
COOKIE = "classic-voter"
YEAR = 365 * 24 * 3600

with open("vote.html") as page, open("style.css") as style:
    PAGE = page.read().replace("{{style}}", style.read())


QUEUE = redis.Redis(host=os.environ.get("QUEUE_HOST", "queue"), socket_timeout=10)


def hand_on(voter, choice):
    """Puts the vote into the queue, for the worker to find."""
    vote = {"voter": voter, "choice": choice, "cast_at": time.time_ns() // 1000}
    QUEUE.lpush("votes", json.dumps(vote))


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
            hand_on(voter, choice)
        except redis.RedisError as error:
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
            "result_url": os.environ["RESULT_URL"],
            "answered_by": socket.gethostname(),
            **{name: str(name == choice).lower() for name in CHOICES},
        }
        body = re.sub(r"{{(\w+)}}", lambda field: values[field[1]], PAGE).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if cookie:
            self.send_header("Set-Cookie", f"{COOKIE}={cookie}; Path=/; Max-Age={YEAR}; HttpOnly; SameSite=Lax")
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Vote).serve_forever()
