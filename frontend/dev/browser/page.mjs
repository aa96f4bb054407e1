// Debian's chromium through playwright-core, signed in at a running mock or platform (BASE).
import { chromium } from 'playwright-core';

export const BASE = process.env.BASE ?? 'http://acme.localhost:5174';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
}

/** A signed-in page of its own context; `problems` collects errors of the page and of its CSP. */
export async function signedIn(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const url = BASE;
  await context.addCookies([
    { name: 'sessionid', value: 'mock', url },
    { name: 'csrftoken', value: 'mocktoken', url },
    { name: 'django_language', value: options.language ?? 'en', url },
  ]);
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()));
  return page;
}

export async function open(page, path = '/chat/') {
  await page.goto(BASE + path);
  await page.getByTestId('composer').waitFor();
}

export async function ask(page, text) {
  await page.getByTestId('composer').fill(text);
  await page.getByTestId('composer').press('Enter');
}

export function answer(page, status) {
  const message = page.getByTestId('message-assistant').last();
  return status ? page.locator(`[data-testid=message-assistant][data-status=${status}]`).last() : message;
}
