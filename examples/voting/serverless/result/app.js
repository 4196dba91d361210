// The page that shows the result. One container is the page; another is the
// stream of one viewer and ends when they leave.
"use strict";
const fs = require("fs");
const http = require("http");
const os = require("os");
const { Client } = require("pg");

const STYLE = fs.readFileSync("style.css", "utf8");
const PAGE = fs.readFileSync("result.html", "utf8").replace("{{style}}", () => STYLE);

// The database may be starting: trying is better than failing at once.
async function connect() {
  for (let tries = 0; ; tries += 1) {
    const client = new Client({ connectionString: process.env.DATABASE_URL });
    // A connection that was lost shows at the next query.
    client.on("error", () => {});
    try {
      await client.connect();
      return client;
    } catch (error) {
      if (tries === 40) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}

// A spare connects before anybody asks; should the connection be lost while it
// waits, it connects again when somebody does.
const early = connect();
early.catch(() => {});

async function database() {
  try {
    const client = await early;
    await client.query("SELECT 1");
    return client;
  } catch {
    return connect();
  }
}

async function tally(client) {
  const { rows } = await client.query("SELECT choice, count(*)::int AS votes FROM votes GROUP BY choice");
  const counts = { tea: 0, coffee: 0 };
  for (const { choice, votes } of rows) counts[choice] = votes;
  return counts;
}

async function page(request, response) {
  const client = await database();
  const values = {
    tally: JSON.stringify(await tally(client)),
    base: request.headers["x-forwarded-prefix"] ?? "",
    vote_url: process.env.VOTE_URL ?? "/vote",
    answered_by: os.hostname(),
  };
  await client.end();
  const body = PAGE.replace(/{{(\w+)}}/g, (_, name) => values[name]);
  response.writeHead(200, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" });
  response.end(body);
}

async function counts(response) {
  const client = await database();
  const body = JSON.stringify(await tally(client));
  await client.end();
  response.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(body);
}

// Says the tally now and after every vote; PostgreSQL tells when.
async function stream(request, response) {
  const client = await database();
  client.on("error", () => response.destroy());
  client.on("notification", () => say().catch(() => response.destroy()));
  const say = async () => response.write(`data: ${JSON.stringify(await tally(client))}\n\n`);
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  // A comment now and then, so that nobody between takes silence for an end.
  const heartbeat = setInterval(() => response.write(":\n\n"), 10_000);
  response.on("close", () => {
    clearInterval(heartbeat);
    client.end().catch(() => {});
  });
  await client.query("LISTEN votes");
  await say();
}

function answer(request, response) {
  const { pathname } = new URL(request.url, "http://localhost");
  if (pathname === "/") return page(request, response);
  if (pathname === "/tally") return counts(response);
  if (pathname === "/stream") return stream(request, response);
  response.writeHead(404).end("There is no such page.\n");
}

http
  .createServer(async (request, response) => {
    try {
      await answer(request, response);
    } catch (error) {
      console.error(error);
      if (response.headersSent) return response.destroy();
      response.writeHead(503).end("The votes can't be read just now. Please try again.\n");
    }
  })
  .listen(Number(process.env.PORT), "0.0.0.0");
