// The mock's data: agents, conversations and messages in memory, seeded so that the list has a past.
import { randomUUID } from 'node:crypto';

const DAY = 86_400_000;

export const AGENTS = [
  { slug: 'assistant', name: 'Assistant', description: 'Answers questions, explains, and drafts texts.', model: 'mock-large' },
  { slug: 'coder', name: 'Code reviewer', description: 'Writes and reviews code, and explains what it does.', model: 'mock-code' },
  { slug: 'translator', name: '翻译助手', description: '中英互译，保留术语和格式。', model: 'mock-large' },
].map((agent, index) => ({ id: randomUUID(), tools: index === 0 ? ['search_documents', 'read_file'] : [], ...agent }));

const TITLES = [
  'Duplicate files in Python', 'Reply to the landlord', '公钥加密的原理', 'Quarterly report outline',
  'SQLite or PostgreSQL?', 'Trip to Lisbon', 'Regular expression for dates', 'Names for a newsletter',
];

export const USAGE = {
  input_tokens: 412, output_tokens: 268, cached_tokens: 0, reasoning_tokens: 0, counted: false, cost: '0.000864', currency: 'USD',
};

/** Answers of several kinds: text, lists, code, tables. */
function longAnswer(index) {
  const kinds = [
    `Answer **${index}** in a sentence or two, which is what most of them are.`,
    `Answer ${index}:\n\n- one\n- two with \`code\`\n- three\n\n> and a quotation`,
    `Answer ${index}:\n\n\`\`\`python\ndef f(x):\n    return x * ${index}  # doubled\n\`\`\`\n\nand what it does.`,
    `Answer ${index}\n\n| a | b |\n|---|---|\n| 1 | ${index} |\n| 2 | 3 |`,
    `Answer ${index}. ${'A paragraph that goes on for some lines, as people like them. '.repeat(8)}`,
  ];
  return kinds[Math.floor(index / 2) % kinds.length];
}

export class Store {
  conversations = new Map();
  #trash = new Map();

  constructor() {
    for (let index = 0; index < 44; index += 1) {
      const time = Date.now() - 3_600_000 - index * 0.55 * DAY;
      const conversation = this.create(AGENTS[index % 2], TITLES[index % TITLES.length] + (index < 8 ? '' : ` ${index}`));
      conversation.created_at = conversation.updated_at = new Date(time).toISOString();
      this.addMessage(conversation.id, 'user', `About: ${conversation.title}`);
      this.addMessage(conversation.id, 'assistant', `Some notes on **${conversation.title}**.`, { usage: USAGE });
    }
    // One that is long: LONG=5000 makes that many messages.
    const long = this.create(AGENTS[0], 'A long conversation');
    long.created_at = long.updated_at = new Date(Date.now() - 1_800_000).toISOString();
    for (let index = 0; index < Number(process.env.LONG ?? 300); index += 1) {
      const [role, text] = index % 2 ? ['assistant', longAnswer(index)] : ['user', `Question number ${index}`];
      this.addMessage(long.id, role, text, index % 2 ? { usage: USAGE } : {});
    }
  }

  create(agent, title = '') {
    const now = new Date().toISOString();
    const conversation = {
      id: randomUUID(), title, agent: { slug: agent.slug, name: agent.name },
      created_at: now, updated_at: now, pinned_at: null, active_run_id: null, messages: [], leaf: null,
    };
    this.conversations.set(conversation.id, conversation);
    return conversation;
  }

  addMessage(id, role, content, more = {}) {
    const conversation = this.conversations.get(id);
    const message = {
      id: randomUUID(), parent_id: conversation?.leaf ?? null, role, content, reasoning: '', status: 'complete',
      error: null, run_id: null, finish_reason: null, created_at: new Date().toISOString(), usage: null, ...more,
    };
    conversation?.messages.push(message);
    if (conversation) conversation.leaf = message.id;
    return message;
  }

  /** Files by id; a name with `bad` in it is refused, one with `big` too. */
  files = new Map();

  addFile(name, size) {
    const file = { id: randomUUID(), name, kind: 'text', size, created_at: new Date().toISOString() };
    this.files.set(file.id, file);
    return file;
  }

  message(id) {
    return [...this.conversations.values()].flatMap(({ messages }) => messages).find((one) => one.id === id);
  }

  /** The messages from the beginning to the leaf, each with those beside it. */
  path({ messages, leaf }) {
    const found = [];
    for (let id = leaf; id !== null; ) {
      const message = messages.find((item) => item.id === id);
      const siblings = messages.filter((item) => item.parent_id === message.parent_id).map((item) => item.id);
      found.unshift({ ...message, siblings });
      id = message.parent_id;
    }
    return found;
  }

  /** Shows the branch of a message, to its newest end. */
  show(conversation, messageId) {
    conversation.leaf = messageId;
    for (let next; (next = conversation.messages.findLast((item) => item.parent_id === conversation.leaf)); ) {
      conversation.leaf = next.id;
    }
  }

  view({ messages: _, leaf: __, ...conversation }) {
    return conversation;
  }

  /** As a turn's answer names it: in full when it is new, by its id when the page has it. */
  named(conversation) {
    return conversation.messages.length > 1 ? { id: conversation.id } : this.view(conversation);
  }

  page(limit, cursor) {
    const all = [...this.conversations.values()].sort((a, b) => b.updated_at.localeCompare(a.updated_at));
    const from = cursor ? Number(cursor) : 0;
    const next = from + limit < all.length ? String(from + limit) : null;
    return { conversations: all.slice(from, from + limit).map(this.view), next_cursor: next };
  }

  pinned() {
    return [...this.conversations.values()].filter((one) => one.pinned_at).map(this.view);
  }

  /** Those that say it, newest first, with the message that does. */
  find(text) {
    const says = (content) => content.toLowerCase().includes(text.toLowerCase());
    const match = ({ messages }) => messages.findLast(({ content }) => says(content));
    return [...this.conversations.values()]
      .filter((one) => says(one.title) || match(one))
      .sort((a, b) => b.updated_at.localeCompare(a.updated_at))
      .map((one) => {
        const { id, role, content } = match(one) ?? {};
        return { ...this.view(one), match: id ? { message_id: id, role, text: content.slice(0, 160) } : null };
      });
  }

  #flaky = 0;

  /** Every other time. */
  flaky() {
    this.#flaky += 1;
    return this.#flaky % 2 === 1;
  }

  remove(id) {
    const conversation = this.conversations.get(id);
    if (conversation) this.#trash.set(id, conversation);
    return this.conversations.delete(id);
  }

  restore(id) {
    const conversation = this.#trash.get(id);
    if (conversation) this.conversations.set(id, conversation);
    return conversation;
  }
}
