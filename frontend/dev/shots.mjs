// Screenshots of the page in its states, into OUT (/tmp/shots), to be looked at by a person. Needs `npm run mock`.
import { mkdirSync } from 'node:fs';
import { answer, ask, launch, open, signedIn } from './browser/page.mjs';

const OUT = process.env.OUT ?? '/tmp/shots';
mkdirSync(OUT, { recursive: true });

const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const browser = await launch();

async function shot(name, options, act) {
  const page = await signedIn(browser, options);
  await open(page);
  await act(page);
  await page.screenshot({ path: `${OUT}/${name}.png` });
  if (page.problems.length > 0) console.log(name, page.problems);
  await page.context().close();
}

const settle = (page, ms = 300) => page.waitForTimeout(ms);
const done = (page) =>
  page.waitForFunction(() => {
    const all = document.querySelectorAll('[data-testid=message-assistant]');
    return all.item(all.length - 1)?.dataset.status === 'complete';
  }, null, { timeout: 30_000 });

const DESK = { deviceScaleFactor: 1.5 };
const ZH = { ...DESK, language: 'zh-hans', locale: 'zh-CN' };
const NIGHT = { ...DESK, colorScheme: 'dark' };
const code = async (page) => {
  await ask(page, 'Write a Python function that finds duplicate files in a folder.');
  await done(page);
};
const streaming = (text, ms) => async (page) => {
  await ask(page, text);
  await settle(page, ms);
};

await shot('desktop-light-empty', DESK, settle);
await shot('desktop-dark-empty', NIGHT, settle);
await shot('desktop-zh-empty', ZH, settle);
await shot('desktop-light-streaming', DESK, streaming('Explain how public-key encryption works.', 2400));
await shot('desktop-dark-streaming-zh', { ...ZH, colorScheme: 'dark' }, streaming('请解释公钥加密的原理。', 2000));
await shot('desktop-light-code', DESK, code);
await shot('desktop-dark-code', NIGHT, code);
await shot('desktop-light-table', DESK, async (page) => {
  await ask(page, 'Compare SQLite and PostgreSQL in a table.');
  await done(page);
});
await shot('desktop-light-failed', DESK, async (page) => {
  await ask(page, '/fail provider_auth_failed');
  await answer(page, 'failed').waitFor();
  await settle(page);
});
await shot('desktop-dark-quota', NIGHT, async (page) => {
  await ask(page, '/refuse quota_exceeded 30');
  await page.getByTestId('error-banner').waitFor();
  await settle(page);
});
await shot('desktop-light-reasoning-tool', DESK, async (page) => {
  await ask(page, '/reason');
  await done(page);
  await ask(page, '/tool');
  await done(page);
  await page.getByTestId('tool-call').locator('summary').click();
  await page.getByTestId('reasoning').locator('summary').click();
  await settle(page);
});
await shot('desktop-light-unsafe', DESK, async (page) => {
  await ask(page, '/unsafe');
  await done(page);
  await settle(page);
});
await shot('desktop-light-undo', DESK, async (page) => {
  const item = page.getByTestId('conversation-item').nth(12);
  await item.hover();
  await item.getByTestId('conversation-delete').click();
  await page.getByTestId('undo').waitFor();
  await settle(page);
});
await shot('desktop-dark-stopped-focus', NIGHT, async (page) => {
  await ask(page, '/slow');
  await settle(page, 3000);
  await page.keyboard.press('Escape');
  await answer(page, 'stopped').waitFor();
  await page.keyboard.press('Shift+Tab');
  await settle(page);
});
await shot('phone-light-empty', PHONE, settle);
await shot('phone-light-code', PHONE, code);
await shot('phone-dark-streaming', { ...PHONE, colorScheme: 'dark' }, streaming('请解释公钥加密的原理。', 1500));
await shot('phone-dark-drawer', { ...PHONE, colorScheme: 'dark' }, async (page) => {
  await page.locator('header button').first().click();
  await settle(page, 500);
});
await shot('phone-zh-drawer', { ...PHONE, language: 'zh-hans' }, async (page) => {
  await page.locator('header button').first().click();
  await settle(page, 500);
});
await shot('phone-zh-failed', { ...PHONE, language: 'zh-hans' }, async (page) => {
  await ask(page, '/fail model_starting');
  await answer(page, 'failed').waitFor();
  await settle(page);
});
await browser.close();
