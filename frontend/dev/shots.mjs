// Screenshots of the page in its states, into OUT (/tmp/shots), to be looked at by a person. Needs `npm run mock`.
// One argument takes only those whose name contains it.
import { mkdirSync } from 'node:fs';
import { answer, ask, launch, open, signedIn } from './browser/page.mjs';

const OUT = process.env.OUT ?? '/tmp/shots';
mkdirSync(OUT, { recursive: true });

const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const SMALL = { ...PHONE, viewport: { width: 390, height: 844 }, language: 'zh-hans', locale: 'zh-CN', colorScheme: 'dark' };
const browser = await launch();
const only = process.argv[2] ?? '';

async function shot(name, options, act) {
  if (!name.includes(only)) return;
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
const unfold = async (page, name, which = 'first') => {
  await page.getByTestId(name)[which]().locator('> summary').click();
};
const worked = async (page) => {
  await ask(page, '/tool');
  await done(page);
  await unfold(page, 'work', 'last');
  for (const index of [1, 2]) await page.getByTestId('tool-call').nth(index).locator('> summary').click();
  await page.getByTestId('work').last().scrollIntoViewIfNeeded();
  await settle(page);
};
const team = async (page) => {
  await ask(page, '/team');
  await done(page);
  await page.reload();
  await unfold(page, 'work');
  for (let index = 0; index < 4; index += 1) await page.getByTestId('member').nth(index).locator('> summary').click();
  await page.getByTestId('work').scrollIntoViewIfNeeded();
  await settle(page);
};
const approval = async (page) => {
  await ask(page, '/approve');
  await page.getByTestId('approve').waitFor();
  await settle(page);
};
await shot('desktop-light-reasoning', DESK, async (page) => {
  await ask(page, '/reason');
  await done(page);
  await unfold(page, 'reasoning');
  await settle(page);
});
await shot('desktop-light-tools', DESK, worked);
await shot('desktop-dark-team', NIGHT, team);
await shot('desktop-light-approval', DESK, approval);
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
await shot('phone-zh-dark-tools', SMALL, worked);
await shot('phone-zh-dark-team', SMALL, team);
await shot('phone-zh-dark-approval', SMALL, approval);
await shot('phone-zh-dark-decided', SMALL, async (page) => {
  await approval(page);
  await page.getByTestId('approval-note').fill('好的');
  await page.getByTestId('approve').click();
  await page.getByTestId('approval-decided').waitFor();
  await settle(page);
});
const attached = async (page) => {
  const files = ['report of the third quarter with a long name.pdf', 'bad.exe', 'numbers.csv'].map((name) => ({
    name, mimeType: 'text/plain', buffer: Buffer.alloc(name.length * 4000),
  }));
  await page.getByTestId('attach-files').setInputFiles(files.slice(0, 1));
  await page.locator('[data-testid=attachment][data-state=ready]').waitFor();
  await ask(page, '/fast');
  await done(page);
  await page.getByTestId('attach-files').setInputFiles(files);
  await page.locator('[data-testid=attachment][data-state=ready]').nth(1).waitFor();
  await page.getByTestId('message-user').scrollIntoViewIfNeeded();
  await settle(page);
};
await shot('desktop-light-files', DESK, attached);
await shot('phone-zh-dark-files', SMALL, attached);
await shot('phone-zh-dark-thumbs', SMALL, async (page) => {
  await ask(page, '/fast');
  await done(page);
  await page.getByTestId('feedback-down').click();
  await settle(page);
});
await browser.close();
