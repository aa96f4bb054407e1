// OpenAI's responses: the Vercel AI SDK's own provider for OpenAI, which speaks nothing else by default.
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, Output, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

import { agents, ASKED, BASE_URL, equal, failure, KEY, PICTURE, run } from './report.mjs';

const openai = createOpenAI({ baseURL: BASE_URL, apiKey: KEY });
const lookup = tool({
  description: 'Looks a city up.',
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `cold in ${city}`,
});

await run({
  async stream() {
    const result = streamText({ model: openai(agents.words), prompt: ASKED, maxRetries: 0 });
    let text = '';
    for await (const part of result.textStream) text += part;
    equal(text, 't0 t1 t2 t3 ');
    const usage = await result.usage;
    equal([usage.outputTokens, await result.finishReason], [4, 'stop']);
  },
  async whole() {
    const result = await generateText({ model: openai(agents.thinks), prompt: ASKED, maxRetries: 0 });
    equal([result.text, result.finishReason], ['t0 t1 t2 ', 'stop']);
  },
  async tools() {
    const result = streamText({
      model: openai(agents.tools), prompt: ASKED, tools: { lookup }, stopWhen: stepCountIs(3), maxRetries: 0,
    });
    await result.consumeStream();
    equal(await result.text, 'The tool lookup said: "cold in Oslo"'.replaceAll('"', ''));
  },
  async goes_on() {
    const first = await generateText({ model: openai(agents.thinks), prompt: ASKED, maxRetries: 0 });
    const messages = [{ role: 'user', content: ASKED }, ...first.response.messages, { role: 'user', content: 'And?' }];
    const next = await generateText({ model: openai(agents.able), messages, maxRetries: 0 });
    equal(next.text, 'And?');
    const later = await generateText({
      model: openai(agents.words), prompt: 'And?', maxRetries: 0,
      providerOptions: { openai: { previousResponseId: next.response.id, store: false } },
    });
    equal(later.text, 't0 t1 t2 t3 ');
  },
  async schema() {
    const result = await generateText({
      model: openai(agents.able), prompt: ASKED, output: Output.object({ schema: z.object({ city: z.string() }) }), maxRetries: 0,
    });
    equal(result.output, { city: 'Oslo' });
  },
  async images() {
    const content = [{ type: 'text', text: 'What?' }, { type: 'image', image: PICTURE }];
    const result = await generateText({ model: openai(agents.able), messages: [{ role: 'user', content }], maxRetries: 0 });
    equal(result.text, 'What?');
  },
  async errors() {
    const error = await failure(() => generateText({ model: openai('nobody'), prompt: ASKED, maxRetries: 0 }));
    equal([error.statusCode, error.data.error.code], [404, 'agent_not_found']);
  },
  async cut() {
    let text = '';
    let seen;
    const result = streamText({ model: openai(agents.cut), prompt: ASKED, maxRetries: 0, onError({ error }) { seen = error; } });
    for await (const part of result.fullStream) {
      if (part.type === 'text-delta') text += part.text;
      if (part.type === 'error') seen = part.error;
    }
    equal(text, 't0 t1 ');
    equal([String(await result.finishReason), seen !== undefined], ['error', true]);
  },
});
