// A platform for developing the page: the native API, the websocket and the pages around them, in memory.
// PORT (5174), TOKEN_MS (22, milliseconds a token), MOCK_WS=off (no websocket). See frontend/README.md.
import { createServer } from 'node:http';
import { cookies, pages } from './pages.mjs';
import { restDoor } from './rest.mjs';
import { Runs } from './runs.mjs';
import { socketDoor } from './socket.mjs';
import { Store } from './store.mjs';

const port = Number(process.env.PORT ?? 5174);
const store = new Store();
const runs = new Runs(store);
const isSignedIn = (request) => Boolean(cookies(request).sessionid);
const csrfOk = (request) => request.headers['x-csrftoken'] === cookies(request).csrftoken;
const rest = restDoor({ store, runs, isSignedIn, csrfOk });

const server = createServer((request, response) => {
  const url = new URL(request.url, `http://${request.headers.host}`);
  const answer = url.pathname.startsWith('/api/v1/')
    ? rest(request, response, url)
    : pages(request, response, url, isSignedIn);
  answer.catch((error) => {
    console.error(error);
    response.writeHead(500).end();
  });
});
server.on('upgrade', socketDoor(runs, store, isSignedIn));
server.listen(port, '127.0.0.1', () => console.log(`http://acme.localhost:${port}/chat/`));
