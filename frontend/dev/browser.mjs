// Behaviour in a real browser against the mock, door by door: `npm run build && npm run mock`, then `npm run browser`.
// One argument runs only the checks whose name contains it.
import assert from 'node:assert/strict';
import { answer, ask, BASE, launch, open, signedIn } from './browser/page.mjs';

const checks = [];
const check = (name, act, options = {}) => checks.push({ name, act, options });
const message = (page) => page.getByTestId('message-assistant').last();

/** The last answer is complete (an earlier one always is). */
async function finished(page) {
  await page.waitForFunction(() => {
    const all = document.querySelectorAll('[data-testid=message-assistant]');
    return all.item(all.length - 1)?.dataset.status === 'complete';
  }, null, { timeout: 30_000 });
}

const words = async (page) => (await message(page).innerText()).match(/word\d+/g) ?? [];

/** The streamed text must be word0 word1 word2 ... with nothing lost and nothing twice. */
async function assertWords(page, count) {
  const got = await words(page);
  assert.deepEqual(got, Array.from({ length: count }, (_, index) => `word${index}`));
}

check('streams token by token, names the conversation, focuses the composer', async (page) => {
  await ask(page, 'Explain something');
  await answer(page, 'streaming').waitFor();
  await page.waitForFunction(() => document.querySelector('.prose-live')?.textContent.length > 20);
  const early = (await message(page).innerText()).length;
  await page.waitForTimeout(400);
  assert.ok((await message(page).innerText()).length > early);
  assert.match(page.url(), /\/chat\/[0-9a-f-]{36}\/$/);
  await finished(page);
  assert.match(await page.getByTestId('announcer').innerText(), /complete/);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'composer');
});

check('a reload in the middle loses and doubles nothing', async (page) => {
  await ask(page, '/long 200');
  await page.waitForFunction(() => document.body.innerText.includes('word40'));
  await page.reload();
  await answer(page, 'streaming').waitFor();
  assert.equal(await page.getByTestId('message-user').count(), 1);
  await finished(page);
  await assertWords(page, 200);
});

for (const trick of ['cut', 'gap', 'dup']) {
  check(`${trick}: the text stays whole`, async (page) => {
    await ask(page, `/${trick}`);
    await finished(page);
    const text = await message(page).innerText();
    assert.equal(text.match(/short overview/g).length, 1);
    assert.match(text, /everybody may know, and one that only you have/);
    assert.match(text, /puts this together/);
    await page.locator('[data-testid=connection-state][data-state=online]').waitFor();
  });
}

check('an acceptance that got lost is found again, not sent twice', async (page) => {
  await ask(page, '/lose');
  await answer(page).waitFor({ timeout: 15_000 });
  await finished(page);
  assert.equal(await page.getByTestId('message-user').count(), 1);
  assert.equal(await page.getByTestId('composer').inputValue(), '');
});

check('Esc stops; write again replaces the answer', async (page) => {
  await ask(page, '/slow');
  await page.waitForFunction(() => document.querySelector('.prose-live')?.textContent.length > 5);
  await page.keyboard.press('Escape');
  await answer(page, 'stopped').waitFor();
  await page.getByTestId('retry').click();
  await answer(page, 'streaming').waitFor();
  assert.equal(await page.getByTestId('message-assistant').count(), 1);
  await page.getByTestId('stop').click();
  await answer(page, 'stopped').waitFor();
});

check('a refused message keeps its text and counts down', async (page) => {
  await ask(page, '/refuse quota_exceeded 2');
  await page.getByTestId('error-banner').waitFor();
  assert.equal(await page.getByTestId('composer').inputValue(), '/refuse quota_exceeded 2');
  assert.equal(await page.getByTestId('message-user').count(), 0);
  assert.ok(await page.getByTestId('retry').isDisabled());
  await page.waitForFunction(() => !document.querySelector('[data-testid=retry]').disabled);
});

check('a failed answer says why and can be retried', async (page) => {
  await ask(page, '/fail provider_timeout');
  await answer(page, 'failed').waitFor();
  assert.equal(await page.getByTestId('error-banner').getAttribute('data-code'), 'provider_timeout');
  await page.reload();
  await answer(page, 'failed').waitFor();
  await page.getByTestId('retry').click();
  await answer(page, 'streaming').waitFor();
});

check('drafts: kept per conversation and over a reload', async (page) => {
  await page.getByTestId('composer').fill('half a thought');
  await page.getByTestId('conversation-item').nth(2).locator('a').click();
  await page.getByTestId('message-user').first().waitFor();
  assert.equal(await page.getByTestId('composer').inputValue(), '');
  await page.getByTestId('composer').fill('another');
  await page.reload();
  await page.getByTestId('composer').waitFor();
  assert.equal(await page.getByTestId('composer').inputValue(), 'another');
  await page.keyboard.press('Control+Shift+O');
  await page.getByTestId('empty-state').waitFor();
  assert.equal(await page.getByTestId('composer').inputValue(), 'half a thought');
});

check('Enter of an input method does not send; Shift+Enter is a new line', async (page) => {
  const composer = page.getByTestId('composer');
  await composer.focus();
  const session = await page.context().newCDPSession(page);
  await session.send('Input.imeSetComposition', { text: 'nihao', selectionStart: 5, selectionEnd: 5 });
  await session.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', key: 'Process', code: 'Enter', windowsVirtualKeyCode: 229 });
  await session.send('Input.insertText', { text: '你好' });
  assert.equal(await page.getByTestId('message-user').count(), 0);
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('second');
  assert.equal(await composer.inputValue(), '你好\nsecond');
  await page.keyboard.press('Enter');
  await page.getByTestId('message-user').waitFor();
});

check('rename, delete and undo', async (page) => {
  const item = page.getByTestId('conversation-item').nth(3);
  const before = await item.innerText();
  await item.locator('a').focus();
  await page.keyboard.press('F2');
  await page.getByTestId('conversation-title').fill('A better name');
  await page.keyboard.press('Enter');
  await page.getByText('A better name').waitFor();
  assert.notEqual(before, 'A better name');
  await page.waitForFunction(() => document.activeElement.innerText === 'A better name');
  await page.keyboard.press('Delete');
  await page.getByTestId('undo').waitFor();
  assert.equal(await page.getByTestId('conversation-list').getByText('A better name').count(), 0);
  await page.getByTestId('undo').click();
  await page.getByTestId('conversation-list').getByText('A better name').waitFor();
});

check('the list pages as it is scrolled', async (page) => {
  const items = page.getByTestId('conversation-item');
  await items.first().waitFor();
  assert.equal(await items.count(), 30);
  await items.nth(29).scrollIntoViewIfNeeded();
  await page.waitForFunction(() => document.querySelectorAll('[data-testid=conversation-item]').length > 40);
});

check('scrolling up stops following; the button goes back', async (page) => {
  await ask(page, '/long 900');
  await page.waitForFunction(() => document.body.innerText.includes('word300'));
  await page.getByTestId('messages').hover();
  await page.mouse.wheel(0, -600);
  await page.getByTestId('jump-latest').waitFor();
  const top = await page.getByTestId('messages').evaluate((box) => box.scrollTop);
  await page.waitForTimeout(400);
  assert.equal(await page.getByTestId('messages').evaluate((box) => box.scrollTop), top);
  await page.getByTestId('jump-latest').click();
  await page.waitForTimeout(300);
  const left = await page.getByTestId('messages').evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight);
  assert.ok(left < 40, `${left} px from the end`);
  await page.getByTestId('stop').click();
});

check('two tabs show the same turn', async (page) => {
  await page.getByTestId('conversation-item').nth(5).locator('a').click();
  await page.getByTestId('message-user').first().waitFor();
  const other = await page.context().newPage();
  await other.goto(page.url());
  await other.getByTestId('message-user').first().waitFor();
  await ask(page, '/long 100');
  await answer(page, 'streaming').waitFor();
  await answer(other, 'streaming').waitFor();
  await finished(page);
  await finished(other);
  await assertWords(page, 100);
  await assertWords(other, 100);
});

check('a websocket that hangs: the answer comes over SSE meanwhile', async (page) => {
  await page.routeWebSocket(/\/ws\/chat\//, () => {});
  await page.reload();
  await ask(page, '/long 150');
  await finished(page);
  await assertWords(page, 150);
});

check('no websocket: POST and SSE carry the turn, a cut stream and a stop', async (page) => {
  await page.routeWebSocket(/\/ws\/chat\//, (socket) => socket.close({ code: 4000 }));
  await page.reload();
  await page.locator('[data-testid=connection-state][data-mode=sse]').waitFor();
  await ask(page, '/cut');
  await answer(page, 'streaming').waitFor();
  await finished(page);
  assert.equal((await message(page).innerText()).match(/short overview/g).length, 1);
  await ask(page, '/slow');
  await page.waitForFunction(() => document.querySelector('.prose-live')?.textContent.length > 5);
  await page.getByTestId('stop').click();
  await answer(page, 'stopped').waitFor();
});

check('a lost network shows, and comes back', async (page) => {
  await ask(page, '/long 300');
  await page.waitForFunction(() => document.body.innerText.includes('word30'));
  await page.context().setOffline(true);
  await page.locator('[data-testid=connection-state][data-state=offline]').waitFor();
  await page.context().setOffline(false);
  await page.locator('[data-testid=connection-state][data-state=online]').waitFor();
  await finished(page);
  await assertWords(page, 300);
});

check('an ended session asks to sign in and keeps the text', async (page) => {
  await page.context().clearCookies({ name: 'sessionid' });
  await page.getByTestId('composer').fill('not lost');
  await page.reload();
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByTestId('composer').waitFor();
  assert.equal(await page.getByTestId('composer').inputValue(), 'not lost');
  await page.context().clearCookies({ name: 'sessionid' });
  await page.getByTestId('conversation-item').nth(1).locator('a').click();
  await page.getByTestId('sign-in').waitFor();
});

check('language, theme and sign-out', async (page) => {
  await page.getByTestId('language-switch').click();
  await page.getByText('有什么可以帮你？').waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'zh-Hans');
  await page.waitForFunction(() => document.cookie.includes('django_language=zh-hans'));
  await page.getByTestId('theme-toggle').click();
  await page.reload();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
  await page.getByTestId('sign-out').click();
  await page.waitForURL(/\/login\//);
});

check('Markdown loads nothing and runs nothing', async (page) => {
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  await ask(page, '/unsafe');
  await finished(page);
  assert.deepEqual(asked.filter((url) => !url.startsWith(BASE)), []);
  assert.equal(await message(page).locator('img, script').count(), 0);
  const hrefs = await message(page).locator('a').evaluateAll((links) => links.map((link) => [link.protocol, link.rel, link.target]));
  assert.ok(hrefs.length > 0);
  for (const [protocol, rel, target] of hrefs) assert.deepEqual([protocol, rel, target], ['https:', 'noopener noreferrer', '_blank']);
});

check('copies the answer as Markdown', async (page) => {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await ask(page, '/table');
  await finished(page);
  await page.getByTestId('copy-answer').click();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /\| Runs as \| a library/);
});

check('a phone: the list is a drawer, nothing is wider than the screen', async (page) => {
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 360));
  await page.locator('header button').first().click();
  await page.getByTestId('conversation-item').nth(1).locator('a').click();
  await page.getByTestId('message-user').first().waitFor();
  await page.waitForFunction(() => document.querySelector('#sidebar').inert);
  await ask(page, '/code');
  await finished(page);
  assert.ok(await page.evaluate(() => document.querySelector('[data-testid=messages]').scrollWidth <= 360));
}, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });

check('a stream draws its own message only', async (page) => {
  await page.getByTestId('conversation-item').nth(6).locator('a').click();
  await page.getByTestId('message-user').first().waitFor();
  await ask(page, '/long 300');
  await page.waitForFunction(() => document.body.innerText.includes('word20'));
  const touched = await page.evaluate(() => new Promise((resolve) => {
    const seen = new Set();
    const watch = new MutationObserver((records) => {
      for (const { target } of records) {
        const element = target instanceof Element ? target : target.parentElement;
        seen.add(element?.closest('[data-status]')?.dataset.status ?? element?.id ?? 'elsewhere');
      }
    });
    watch.observe(document.querySelector('main'), { subtree: true, childList: true, characterData: true, attributes: true });
    setTimeout(() => resolve([...seen]), 1000);
  }));
  assert.deepEqual(touched, ['streaming']);
  await page.getByTestId('stop').click();
});

check('what a team did is nested, the same live and after a reload', async (page) => {
  const members = page.getByTestId('member');
  await ask(page, '/team');
  await page.getByTestId('work').waitFor();
  assert.equal(await members.count(), 0); // folded
  await finished(page);
  for (const names of [['Researcher', 'Fact checker', 'Critic failed'], ['researcher', 'checker', 'critic failed']]) {
    await page.getByTestId('work').locator('> summary').click();
    await members.first().locator('> summary').click();
    await members.first().getByTestId('member').locator('> summary').click();
    const shown = await page.getByTestId('work').innerText();
    for (const name of [...names, 'Used search_documents', 'from outside', 'It is right since January.']) {
      assert.ok(shown.includes(name), `${name} in ${shown}`);
    }
    await page.reload();
    await page.getByTestId('work').waitFor();
  }
});

check('a decision that another tab has made is said; Stop ends what waits', async (page) => {
  await ask(page, '/approve');
  await page.getByTestId('deny').waitFor();
  await page.route('**/api/v1/approvals/*', (route) =>
    route.request().method() === 'POST'
      ? route.fulfill({ status: 409, json: { error: { code: 'approval_decided', message: '' } } })
      : route.continue(),
  );
  await page.getByTestId('deny').click();
  assert.match(await page.getByTestId('approval-failed').innerText(), /Somebody else has decided/);
  await page.getByTestId('stop').click();
  await answer(page, 'stopped').waitFor();
  assert.equal(await page.getByTestId('approval').count(), 0);
});

check('files are dropped, pasted and taken back', async (page) => {
  const give = (kind) => page.evaluate((type) => {
    const data = new DataTransfer();
    data.items.add(new File(['a,b'], `${type}.csv`, { type: 'text/csv' }));
    const event = type === 'paste'
      ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true })
      : new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true });
    document.querySelector(type === 'paste' ? '#composer' : 'main').dispatchEvent(event);
  }, kind);
  await give('drop');
  await give('paste');
  await page.locator('[data-testid=attachment][data-state=ready]').nth(1).waitFor();
  assert.match(page.url(), /\/chat\/[0-9a-f-]{36}\/$/);
  await page.getByTestId('attachment-remove').first().click();
  await ask(page, '/fast');
  await finished(page);
  assert.deepEqual(await page.getByTestId('file').allInnerTexts(), ['paste.csv']);
});

check('a file that did not arrive is sent again', async (page) => {
  const files = [{ name: 'flaky.csv', mimeType: 'text/csv', buffer: Buffer.from('a,b') }];
  await page.getByTestId('attach-files').setInputFiles(files);
  await page.getByTestId('attachment-retry').click();
  await page.locator('[data-testid=attachment][data-state=ready]').waitFor();
});

check('a long conversation: few rows are drawn, the end is kept, a search leads into its middle', async (page) => {
  await page.getByTestId('conversation-search').fill('Answer 103');
  await page.getByTestId('search-result').filter({ hasText: 'A long conversation' }).click();
  await page.locator('[data-found=true]').getByText('Answer 103').waitFor();
  assert.ok(await page.locator('[data-row]').count() < 60);
  await page.getByTestId('jump-latest').click();
  await page.getByText('Question number 298').waitFor();
  await page.waitForTimeout(300);
  const left = await page.getByTestId('messages').evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight);
  assert.ok(left < 40, `${left} px from the end`);
});

check('a new conversation is with whom one chose, also after a reload', async (page) => {
  await page.getByTestId('agent-select').click();
  await page.keyboard.type('review');
  await page.keyboard.press('Enter');
  await page.reload();
  await page.locator('[data-testid=agent-select][data-agent=coder]').waitFor();
});

const wanted = process.argv[2] ?? '';
const browser = await launch();
let failed = 0;
for (const { name, act, options } of checks.filter((item) => item.name.includes(wanted))) {
  const page = await signedIn(browser, options);
  page.setDefaultTimeout(10_000);
  try {
    await open(page);
    await act(page);
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n      ${String(error.message).split('\n').slice(0, 12).join('\n      ')}`);
    await page.screenshot({ path: `/tmp/shots/fail-${failed}.png` });
  }
  await page.context().close();
}
await browser.close();
process.exitCode = failed > 0 ? 1 : 0;
