// Answers every request with two bytes; Node's own server, as most small functions have it.
require("http")
  .createServer((_request, response) => response.end("ok"))
  .listen(process.env.PORT || 8080);
