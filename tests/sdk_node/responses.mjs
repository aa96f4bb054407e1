// OpenAI's responses: the official openai SDK for Node.
import OpenAI from 'openai';
import { zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { agents, ASKED, BASE_URL, equal, failure, KEY, PICTURE, run } from './report.mjs';

const client = new OpenAI({ baseURL: BASE_URL, apiKey: KEY, maxRetries: 0 });
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const lookup = { type: 'function', name: 'lookup', strict: false, parameters };

await run({
  async stream() {
    let text = '';
    const numbers = [];
    const stream = await client.responses.create({ model: agents.words, input: ASKED, stream: true });
    for await (const event of stream) {
      numbers.push(event.sequence_number);
      if (event.type === 'response.output_text.delta') text += event.delta;
      if (event.type === 'response.completed') equal(event.response.usage.output_tokens, 4);
    }
    equal(text, 't0 t1 t2 t3 ');
    equal(numbers, [...numbers.keys()]);
  },
  async whole() {
    const answer = await client.responses.create({ model: agents.thinks, input: ASKED });
    equal([answer.output_text, answer.status], ['t0 t1 t2 ', 'completed']);
    equal(answer.output.map((item) => item.type), ['reasoning', 'message']);
    equal((await client.responses.retrieve(answer.id)).output_text, answer.output_text);
  },
  async goes_on() {
    const first = await client.responses.create({ model: agents.words, input: ASKED });
    const second = await client.responses.create({ model: agents.words, input: 'And?', previous_response_id: first.id });
    const texts = [];
    for await (const item of client.responses.inputItems.list(second.id, { order: 'asc' })) texts.push(item.content[0].text);
    equal(texts, [ASKED, first.output_text, 'And?']);
    await client.responses.delete(first.id);
    equal((await failure(() => client.responses.retrieve(first.id))) instanceof OpenAI.NotFoundError, true);
  },
  async resume() {
    const stream = client.responses.stream({ model: agents.words, input: ASKED });
    const whole = await stream.finalResponse();
    const again = await client.responses.retrieve(whole.id, { stream: true, starting_after: 5 });
    const numbers = [];
    for await (const event of again) numbers.push(event.sequence_number);
    equal(numbers[0], 6);
    const helper = client.responses.stream({ response_id: whole.id, starting_after: 5 });
    equal((await helper.finalResponse()).output_text, whole.output_text);
  },
  async tools() {
    const stream = client.responses.stream({ model: agents.tools, input: ASKED, tools: [lookup] });
    const asked = await stream.finalResponse();
    equal(asked.output.map((item) => [item.type, item.arguments]), [['function_call', ASKED]]);
    const output = { type: 'function_call_output', call_id: asked.output[0].call_id, output: 'cold' };
    const next = await client.responses.create({
      model: agents.tools, input: [output], tools: [lookup], previous_response_id: asked.id,
    });
    equal(next.output_text, 'The tool lookup said: cold');
  },
  async schema() {
    const format = zodTextFormat(z.object({ city: z.string() }), 'city');
    const answer = await client.responses.parse({ model: agents.able, input: ASKED, text: { format } });
    equal(answer.output_parsed, { city: 'Oslo' });
  },
  async images() {
    const content = [{ type: 'input_text', text: 'What?' }, { type: 'input_image', image_url: PICTURE, detail: 'auto' }];
    const answer = await client.responses.create({ model: agents.able, input: [{ role: 'user', content }] });
    equal(answer.output_text, 'What?');
  },
  async errors() {
    const cases = [
      ['nobody', OpenAI.NotFoundError, 'agent_not_found'],
      [agents.limited, OpenAI.RateLimitError, 'provider_rate_limited'],
      [agents.failing, OpenAI.InternalServerError, 'provider_unavailable'],
    ];
    for (const [model, kind, code] of cases) {
      const error = await failure(() => client.responses.create({ model, input: ASKED }));
      equal([error instanceof kind, error.code], [true, code]);
    }
  },
  async cut() {
    let text = '';
    let failed;
    for await (const event of await client.responses.create({ model: agents.cut, input: ASKED, stream: true })) {
      if (event.type === 'response.output_text.delta') text += event.delta;
      if (event.type === 'response.failed') failed = event.response.error.code;
    }
    equal([text, failed], ['t0 t1 ', 'provider_stream_cut']);
  },
  async cancel() {
    const stream = await client.responses.create({ model: agents.stalls, input: ASKED, stream: true });
    let id;
    for await (const event of stream) {
      if (event.type === 'response.created') id = event.response.id;
      if (event.type === 'response.output_text.delta') break;
    }
    equal((await client.responses.cancel(id)).status, 'cancelled');
  },
});
