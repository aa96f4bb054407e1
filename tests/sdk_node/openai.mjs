// The official openai SDK for Node.
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { agents, ASKED, BASE_URL, equal, failure, KEY, PICTURE, run } from './report.mjs';

const client = new OpenAI({ baseURL: BASE_URL, apiKey: KEY, maxRetries: 0 });
const messages = [{ role: 'user', content: ASKED }];
const lookup = {
  type: 'function',
  function: {
    name: 'lookup',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

await run({
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    equal(ids.includes(agents.words) && ids.includes('vectors/embed-4'), true);
    equal((await client.models.retrieve(agents.words)).owned_by, 'acme');
  },
  async stream() {
    let text = '';
    let usage;
    const stream = await client.chat.completions.create({
      model: agents.words, messages, stream: true, stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
    }
    equal(text, 't0 t1 t2 t3 ');
    equal([usage.prompt_tokens, usage.completion_tokens], [10, 4]);
  },
  async reasoning() {
    let [text, thought] = ['', ''];
    const stream = await client.chat.completions.create({ model: agents.thinks, messages, stream: true });
    for await (const { choices: [{ delta }] } of stream) {
      text += delta.content ?? '';
      thought += delta.reasoning_content ?? ''; // beside the SDK's types, as other vendors send it
    }
    equal([text, thought], ['t0 t1 t2 ', 'r0 r1 r2 ']);
  },
  async whole() {
    const answer = await client.chat.completions.create({ model: agents.words, messages });
    equal([answer.choices[0].message.content, answer.choices[0].finish_reason], ['t0 t1 t2 t3 ', 'stop']);
  },
  async tools() {
    const stream = client.chat.completions.stream({ model: agents.tools, messages, tools: [lookup] });
    const streamed = await stream.finalChatCompletion();
    equal(streamed.choices[0].message.tool_calls[0].function.arguments, ASKED);
    const whole = await client.chat.completions.create({ model: agents.tools, messages, tools: [lookup] });
    const { message, finish_reason: reason } = whole.choices[0];
    equal([reason, message.tool_calls[0].function.name], ['tool_calls', 'lookup']);
    const answered = { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'cold' };
    const next = await client.chat.completions.create({
      model: agents.tools, messages: [...messages, message, answered], tools: [lookup],
    });
    equal(next.choices[0].message.content, 'The tool lookup said: cold');
    // The SDK's own loop: it calls our function, and asks again by itself.
    const runner = client.chat.completions.runTools({
      model: agents.tools,
      messages,
      tools: [{
        type: 'function',
        function: { ...lookup.function, function: ({ city }) => `cold in ${city}`, parse: JSON.parse },
      }],
    });
    equal(await runner.finalContent(), 'The tool lookup said: cold in Oslo');
  },
  async schema() {
    const answer = await client.chat.completions.parse({
      model: agents.able, messages, response_format: zodResponseFormat(z.object({ city: z.string() }), 'city'),
    });
    equal(answer.choices[0].message.parsed, { city: 'Oslo' });
  },
  async images() {
    const content = [{ type: 'text', text: 'What?' }, { type: 'image_url', image_url: { url: PICTURE } }];
    const answer = await client.chat.completions.create({ model: agents.able, messages: [{ role: 'user', content }] });
    equal(answer.choices[0].message.content, 'What?');
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model: 'vectors/embed-4', input: ['a', 'b'] });
    equal(answer.data.map((row) => row.embedding), JSON.parse(process.env.VECTORS));
  },
  async errors() {
    const cases = [
      ['nobody', OpenAI.NotFoundError, 'agent_not_found'],
      [agents.limited, OpenAI.RateLimitError, 'provider_rate_limited'],
      [agents.failing, OpenAI.InternalServerError, 'provider_unavailable'],
    ];
    for (const [model, kind, code] of cases) {
      const error = await failure(() => client.chat.completions.create({ model, messages, stream: true }));
      equal([error instanceof kind, error.code], [true, code]);
    }
    const stranger = new OpenAI({ baseURL: BASE_URL, apiKey: `ak_${'x'.repeat(40)}` });
    equal((await failure(() => stranger.models.list())) instanceof OpenAI.AuthenticationError, true);
  },
  async cut() {
    let text = '';
    const error = await failure(async () => {
      const stream = await client.chat.completions.create({ model: agents.cut, messages, stream: true });
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    });
    equal([text, error.code], ['t0 t1 ', 'provider_stream_cut']);
  },
  async retry() {
    const patient = new OpenAI({ baseURL: BASE_URL, apiKey: KEY, maxRetries: 2 });
    const answer = await patient.chat.completions.create({ model: 'assistant', messages });
    equal(answer.choices[0].message.content, 'ok');
  },
  async resume() {
    const options = { headers: { 'Idempotency-Key': 'mine-openai' } };
    const ask = () => client.chat.completions.create({ model: agents.words, messages, stream: true }, options);
    const ids = [];
    for await (const chunk of await ask()) { ids.push(chunk.id); break; }
    let text = '';
    for await (const chunk of await ask()) {
      ids.push(chunk.id);
      text += chunk.choices[0]?.delta.content ?? '';
    }
    equal([new Set(ids).size, text], [1, 't0 t1 t2 t3 ']);
  },
  async leave() {
    const stream = await client.chat.completions.create({ model: agents.stalls, messages, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    stream.controller.abort();
  },
});
