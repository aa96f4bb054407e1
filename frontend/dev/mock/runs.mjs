// The mock's runs: a numbered log each, written by a timer, read by any number of followers.
import { randomUUID } from 'node:crypto';
import { scriptFor } from './answers.mjs';
import { AGENTS, USAGE } from './store.mjs';

const TOKEN_MS = Number(process.env.TOKEN_MS ?? 22);
const TERMINAL = new Set(['run.completed', 'run.failed', 'run.cancelled']);

export class Refusal extends Error {
  constructor(code, status = 400, retryAfter = null) {
    super(`The mock refuses with ${code}`);
    Object.assign(this, { code, status, retryAfter });
  }
}

export class Run {
  log = [];
  #followers = new Set();
  text = '';
  reasoning = '';
  status = 'running';

  constructor(store, conversation, agent, script) {
    Object.assign(this, { id: randomUUID(), store, conversation, agent, script });
  }

  get lastSeq() {
    return this.log.length;
  }

  follow(afterSeq, follower) {
    for (const event of this.log.slice(afterSeq)) follower(event);
    if (this.status === 'running') this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  async play() {
    this.emit('run.started', {
      agent: { slug: this.agent.slug, name: this.agent.name }, model: this.agent.model, conversation_id: this.conversation.id,
    });
    await wait(TOKEN_MS * 12);
    for (const [type, data] of this.script.steps) {
      if (this.status !== 'running') return;
      if (type === 'text.delta') this.text += data.text;
      if (type === 'reasoning.delta') this.reasoning += data.text;
      if (type === 'approval.requested') await this.wait(data);
      else this.emit(type, this.decided && type === 'tool.finished' ? this.outcome(data) : data);
      if (this.script.pace > 0) await wait(TOKEN_MS * this.script.pace * (type.startsWith('tool') ? 30 : 1));
    }
    if (this.status !== 'running') return;
    if (this.script.failure) this.finish('failed', 'error', this.script.failure);
    else this.finish('completed', 'stop');
  }

  /** Asks a person, and goes on when they have decided. */
  async wait(data) {
    const id = randomUUID();
    const expires = new Date(Date.now() + 86_400_000).toISOString();
    this.approval = {
      id, run_id: this.id, path: '', ...data, status: 'pending', may_decide: true, decided_by: null, note: '',
      arguments_text: JSON.stringify(data.arguments, null, 2), arguments_hash: 'f00d', expires_at: expires,
    };
    this.conversation.waiting = true;
    this.emit('approval.requested', { approval_id: id, ...data, arguments_hash: 'f00d', expires_at: expires });
    await new Promise((resolve) => (this.decided = resolve));
  }

  decide({ decision, note }) {
    const status = { approve: 'approved', deny: 'denied' }[decision];
    Object.assign(this.approval, { status, note, decided_by: 'u1', may_decide: false });
    this.conversation.waiting = false;
    this.emit('approval.decided', { approval_id: this.approval.id, call_id: this.approval.call_id, decision: status, by: 'u1', note });
    this.decided();
  }

  outcome(data) {
    if (this.approval.status === 'approved') return { ...data, ok: true, result: 'Sent.' };
    return { ...data, ok: false, error: 'A person has denied this call. It was not made.' };
  }

  /** The log as the trace of a stored run has it. */
  trace() {
    const steps = [];
    for (const { type, data } of this.log) {
      const step = { path: data.path ?? '', index: steps.length, ok: null, output: null, tainted: false, duration_ms: null };
      if (type === 'tool.started') steps.push({ ...step, kind: 'tool', name: data.name, input: data.arguments, call_id: data.call_id });
      if (type === 'agent.started') steps.push({ ...step, kind: 'agent', name: data.slug, input: data });
      if (type === 'approval.requested') steps.find((one) => one.call_id === data.call_id).approval_id = data.approval_id;
      if (type === 'approval.decided') {
        steps.push({ ...step, kind: 'approval', name: this.approval.name, input: { call_id: data.call_id }, output: data, ok: true });
      }
      if (type === 'tool.finished') {
        const { ok, result, error, tainted = false, duration_ms } = data;
        Object.assign(steps.findLast((one) => one.call_id === data.call_id), { ok, output: error ?? result, tainted, duration_ms });
      }
      if (type === 'agent.finished') {
        const output = data.ok ? { text: data.content ?? '' } : { message: data.error };
        Object.assign(steps.find((one) => one.input.path === data.path), { ok: data.ok, output, duration_ms: data.duration_ms });
      }
    }
    return { run_id: this.id, steps, cut: false };
  }

  sources() {
    return this.log.filter(({ type }) => type === 'source.cited').map(({ data }) => data);
  }

  cancel() {
    if (this.status === 'running') this.finish('cancelled', 'cancelled');
  }

  finish(status, reason, code = null) {
    this.status = status;
    const error = code && { code, message: `vendor.example answered: ${code}` };
    const kinds = this.trace().steps.map((step) => step.kind);
    const count = (kind) => kinds.filter((one) => one === kind).length;
    const end = {
      run_id: this.id, traces: kinds.length > 0 ? [{ run_id: this.id, tools: count('tool'), members: count('agent') }] : [], usage: USAGE, error, finish_reason: reason,
      status: { completed: 'complete', failed: 'failed', cancelled: 'stopped' }[status],
    };
    const message = this.continued
      ? Object.assign(this.continued, end, { content: this.continued.content + this.text })
      : this.store.addMessage(this.conversation.id, 'assistant', this.text, { reasoning: this.reasoning, ...end });
    Object.assign(this.conversation, { active_run_id: null, waiting: false });
    this.emit('message.completed', { message_id: message.id, content: message.content, finish_reason: reason });
    if (error) this.emit('run.failed', { ...error, retryable: true, usage: USAGE });
    else if (status === 'cancelled') this.emit('run.cancelled', { usage: USAGE });
    else this.emit('run.completed', { finish_reason: reason, usage: USAGE });
  }

  emit(type, data) {
    const event = { v: 1, run_id: this.id, seq: this.log.length + 1, type, data };
    this.log.push(event);
    for (const follower of [...this.#followers]) follower(event);
    if (TERMINAL.has(type)) this.#followers.clear();
  }
}

function wait(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function titleOf(text) {
  return text.length > 42 ? `${text.slice(0, 40)}…` : text;
}

export class Runs {
  runs = new Map();

  constructor(store) {
    this.store = store;
  }

  /** Starts a turn as POST /api/v1/runs and turn.start do; throws a Refusal. */
  start({ agent: slug, conversation_id: id, message, retry, regenerate, continue: cut, parent_message_id: parent, files = [] }) {
    let conversation = id ? this.store.conversations.get(id) : null;
    if (id && !conversation) throw new Refusal('not_found', 404);
    if (conversation?.active_run_id) throw new Refusal('run_in_progress', 409);
    const agent = AGENTS.find((item) => item.slug === (conversation?.agent.slug ?? slug ?? AGENTS[0].slug));
    if (!agent) throw new Refusal('agent_not_found', 404);
    const of = (wanted) => conversation.messages.find((item) => item.id === wanted);
    const last = retry && this.store.path(conversation).findLast((item) => item.role === 'user');
    const again = regenerate || cut ? of(of(regenerate ?? cut).parent_id) : last;
    const text = cut ? 'and so on' : again ? again.content : (message ?? '').trim();
    if (text === '') throw new Refusal('message_empty');
    const script = scriptFor(text);
    if (script.refuse) throw new Refusal(script.refuse, 429, script.retryAfter);
    conversation ??= this.store.create(agent, titleOf(text));
    if (parent !== undefined) conversation.leaf = parent;
    const asked = again || this.store.addMessage(conversation.id, 'user', text, { files: files.map((one) => this.store.files.get(one)) });
    conversation.leaf = cut ?? asked.id;
    const run = new Run(this.store, conversation, agent, script);
    if (cut) run.continued = of(cut);
    conversation.active_run_id = run.id;
    conversation.updated_at = new Date().toISOString();
    this.runs.set(run.id, run);
    return { run, messageId: asked.id };
  }
}
