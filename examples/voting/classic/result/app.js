// The page that shows the result: a server that runs around the clock, with a
// pool of connections and one listener that feeds every viewer.
"use strict";
const fs = require("fs");
const http = require("http");
const os = require("os");
const { Client, Pool } = require("pg");

const STYLE = fs.readFileSync("style.css", "utf8");
const PAGE = fs.readFileSync("result.html", "utf8").replace("{{style}}", () => STYLE);

const connectionString = process.env.DATABASE_URL;
const pool = new Pool({ connectionString });
// A connection that breaks while it waits in the pool is replaced on next use.
pool.on("error", (error) => console.error(error.message));
const viewers = new Set();

async function tally() {
  const { rows } = await pool.query("SELECT choice, count(*)::int AS votes FROM votes GROUP BY choice");
  const counts = { tea: 0, coffee: 0 };
  for (const { choice, votes } of rows) counts[choice] = votes;
  return counts;
}

async function tellViewers() {
  const event = `data: ${JSON.stringify(await tally())}\n\n`;
  for (const viewer of viewers) viewer.write(event);
}

// Listens for votes, and again whenever the connection was lost; what happened
// in between is told on the way back.
async function listen() {
  const client = new Client({ connectionString });
  const again = () => setTimeout(listen, 500);
  try {
    client.on("notification", () => tellViewers().catch((error) => console.error(error.message)));
    client.on("error", (error) => console.error(error.message));
    await client.connect();
    await client.query("LISTEN votes");
    client.once("end", again);
    await tellViewers();
  } catch (error) {
    console.error(error.message);
    client.end().catch(() => {});
    again();
  }
}

async function page(response) {
  const values = {
    tally: JSON.stringify(await tally()),
    base: "",
    vote_url: process.env.VOTE_URL,
    answered_by: os.hostname(),
  };
  const body = PAGE.replace(/{{(\w+)}}/g, (_, name) => values[name]);
  response.writeHead(200, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" });
  response.end(body);
}

async function counts(response) {
  const body = JSON.stringify(await tally());
  response.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(body);
}

async function stream(response) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  // First in, then told: a vote between the two is told twice rather than never.
  viewers.add(response);
  response.on("close", () => viewers.delete(response));
  response.write(`data: ${JSON.stringify(await tally())}\n\n`);
}

function answer(request, response) {
  const { pathname } = new URL(request.url, "http://localhost");
  if (pathname === "/") return page(response);
  if (pathname === "/tally") return counts(response);
  if (pathname === "/stream") return stream(response);
  response.writeHead(404).end("There is no such page.\n");
}

setInterval(() => {
  for (const viewer of viewers) viewer.write(":\n\n");
}, 10_000);
listen();

http
  .createServer(async (request, response) => {
    try {
      await answer(request, response);
    } catch (error) {
      console.error(error.message);
      if (response.headersSent) return response.destroy();
      response.writeHead(503).end("The votes can't be read just now. Please try again.\n");
    }
  })
  .listen(Number(process.env.PORT), "0.0.0.0");
