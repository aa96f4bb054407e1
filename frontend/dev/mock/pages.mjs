// The mock's pages: sign-in, language, and the shell of the chat page around the built bundle, with the real CSP.
import { readFile } from 'node:fs/promises';
import { extname, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const BUNDLE = fileURLToPath(new URL('../../../static/chat/', import.meta.url));
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json' };
const CSP =
  "default-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; style-src 'self'; script-src 'self'";

export function cookies(request) {
  const pairs = (request.headers.cookie ?? '').split('; ').map((part) => part.split('='));
  return Object.fromEntries(pairs);
}

function html(response, status, body) {
  response.writeHead(status, { 'Content-Type': 'text/html; charset=utf-8', 'Content-Security-Policy': CSP });
  response.end(`<!doctype html>${body}`);
}

function redirect(response, location, setCookies = []) {
  response.writeHead(302, { Location: location, 'Set-Cookie': setCookies });
  response.end();
}

async function form(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return new URLSearchParams(Buffer.concat(parts).toString());
}

async function shell(request, response) {
  const manifest = JSON.parse(await readFile(`${BUNDLE}manifest.json`, 'utf8'));
  const { file, css } = manifest['src/main.tsx'];
  const language = cookies(request).django_language ?? 'en';
  html(
    response,
    200,
    `<html lang="${language === 'en' ? 'en' : 'zh-Hans'}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover, interactive-widget=resizes-content">
<title>Chat</title><link rel="icon" href="/static/chat/favicon.svg" type="image/svg+xml">
<script src="/static/chat/theme.js"></script>
<link rel="stylesheet" href="/static/chat/${css[0]}"><script type="module" src="/static/chat/${file}"></script></head>
<body><div id="root" data-tenant-name="Acme" data-tenant-slug="acme" data-user-id="u1" data-user-email="owner@acme.test" data-settings="/profile/" data-language="${language}"></div></body></html>`,
  );
}

async function asset(response, path) {
  const name = normalize(path.slice('/static/chat/'.length));
  if (name.startsWith('..')) return html(response, 404, 'not found');
  const body = await readFile(BUNDLE + name).catch(() => null);
  if (!body) return html(response, 404, 'not found');
  response.writeHead(200, { 'Content-Type': TYPES[extname(name)] ?? 'application/octet-stream' });
  response.end(body);
}

/** Answers everything that is not the API. */
export async function pages(request, response, url, isSignedIn) {
  const { pathname } = url;
  if (pathname.startsWith('/static/chat/')) return asset(response, pathname);
  if (pathname === '/login/' && request.method === 'POST') {
    const next = (await form(request)).get('next') || '/chat/';
    return redirect(response, next, ['sessionid=mock; Path=/; HttpOnly', 'csrftoken=mocktoken; Path=/']);
  }
  if (pathname === '/login/') {
    const next = encodeURI(url.searchParams.get('next') ?? '/chat/');
    return html(response, 200, `<title>Sign in</title><form method="post"><input name="next" type="hidden" value="${next}"><button>Sign in</button></form>`);
  }
  if (pathname === '/logout/') return redirect(response, '/login/', ['sessionid=; Path=/; Max-Age=0']);
  if (pathname === '/i18n/setlang/') {
    const language = (await form(request)).get('language');
    return redirect(response, '/chat/', [`django_language=${language}; Path=/`]);
  }
  if (pathname.startsWith('/chat/') && isSignedIn(request)) return shell(request, response);
  if (pathname.startsWith('/chat/')) return redirect(response, `/login/?next=${encodeURIComponent(pathname)}`);
  return pathname === '/' ? redirect(response, '/chat/') : html(response, 404, 'not found');
}
