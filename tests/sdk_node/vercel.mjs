// The Vercel AI SDK, with its provider for OpenAI-compatible services.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embedMany, generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

import { agents, ASKED, BASE_URL, equal, failure, KEY, PICTURE, run } from './report.mjs';

const make = (apiKey) => createOpenAICompatible({
  name: 'paas', baseURL: BASE_URL, apiKey, includeUsage: true, supportsStructuredOutputs: true,
});
const provider = make(KEY);
const lookup = tool({
  description: 'Looks a city up.',
  inputSchema: z.object({ city: z.string() }),
  execute: ({ city }) => `cold in ${city}`,
});
const once = { maxRetries: 0 };

await run({
  async stream() {
    const result = streamText({ model: provider(agents.thinks), prompt: 'hello', ...once });
    let [text, thought] = ['', ''];
    for await (const part of result.fullStream) {
      if (part.type === 'text-delta') text += part.text;
      if (part.type === 'reasoning-delta') thought += part.text;
    }
    equal([text, thought], ['t0 t1 t2 ', 'r0 r1 r2 ']);
    const usage = await result.usage;
    equal([usage.inputTokens, usage.outputTokens, await result.finishReason], [10, 6, 'stop']);
  },
  async whole() {
    const result = await generateText({ model: provider(agents.words), prompt: 'hello', ...once });
    equal([result.text, result.usage.totalTokens], ['t0 t1 t2 t3 ', 14]);
  },
  async tools() {
    const asked = { model: provider(agents.tools), prompt: ASKED, tools: { lookup }, stopWhen: stepCountIs(3), ...once };
    const whole = await generateText(asked);
    equal(whole.steps[0].toolCalls.map((call) => [call.toolName, call.input]), [['lookup', { city: 'Oslo' }]]);
    equal(whole.text, 'The tool lookup said: cold in Oslo');
    const streamed = streamText(asked);
    equal(await streamed.text, 'The tool lookup said: cold in Oslo');
  },
  async schema() {
    const schema = z.object({ city: z.string() });
    const result = await generateObject({ model: provider(agents.able), prompt: ASKED, schema, ...once });
    equal(result.object, { city: 'Oslo' });
  },
  async images() {
    const content = [{ type: 'text', text: 'What?' }, { type: 'image', image: PICTURE }];
    const result = await generateText({ model: provider(agents.able), messages: [{ role: 'user', content }], ...once });
    equal(result.text, 'What?');
  },
  async embeddings() {
    const model = provider.textEmbeddingModel('vectors/embed-4');
    const result = await embedMany({ model, values: ['a', 'b'], ...once });
    equal(result.embeddings, JSON.parse(process.env.VECTORS));
  },
  async errors() {
    const cases = [['nobody', 404, false], [agents.limited, 429, true], [agents.failing, 502, true]];
    for (const [model, status, retryable] of cases) {
      const error = await failure(() => generateText({ model: provider(model), prompt: 'hello', ...once }));
      equal([APICallError.isInstance(error), error.statusCode, error.isRetryable], [true, status, retryable]);
    }
    const stranger = make(`ak_${'x'.repeat(40)}`);
    const error = await failure(() => generateText({ model: stranger(agents.words), prompt: 'hello', ...once }));
    equal(error.statusCode, 401);
  },
  async cut() {
    let text = '';
    const faults = [];
    const result = streamText({ model: provider(agents.cut), prompt: 'hello', onError() {}, ...once });
    for await (const part of result.fullStream) {
      if (part.type === 'text-delta') text += part.text;
      if (part.type === 'error') faults.push(part.error);
    }
    equal([text, faults.length], ['t0 t1 ', 1]);
  },
  async retry() {
    const result = await generateText({ model: provider('assistant'), prompt: 'hello', maxRetries: 2 });
    equal(result.text, 'ok');
  },
  async resume() {
    const headers = { 'Idempotency-Key': 'mine-vercel' };
    const ask = () => generateText({ model: provider(agents.words), prompt: 'hello', headers, ...once });
    const [first, again] = [await ask(), await ask()];
    equal([again.response.id, again.text], [first.response.id, 't0 t1 t2 t3 ']);
  },
  async leave() {
    const leaving = new AbortController();
    const result = streamText({
      model: provider(agents.stalls), prompt: 'hello', abortSignal: leaving.signal, onError() {}, ...once,
    });
    for await (const part of result.fullStream) if (part.type === 'text-delta') leaving.abort();
  },
});
