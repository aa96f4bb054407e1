// What the mock answers. A message that begins with `/` scripts the run; everything else gets a canned text.

const GENERAL = `Here is a short overview.

**Public-key encryption** uses two keys that belong together: one that everybody may know, and one that only you have.

1. Anyone can *lock* a message with your public key.
2. Only your private key can *unlock* it.
3. The two cannot be computed from each other in any reasonable time.

An everyday comparison: you hand out open padlocks. Whoever wants to write to you puts the letter in a box and snaps your padlock shut. From then on, only you can open the box, because the key never left your pocket.

> The public key is the padlock, the private key is the key.

In practice, the slow public-key step protects only a short random key, and a fast cipher such as \`AES-256-GCM\` does the rest. See [RFC 8446](https://www.rfc-editor.org/rfc/rfc8446) for how TLS puts this together.`;

const CODE = `The idea: group files by size first, then compare hashes only where sizes agree. Most files never have to be read.

\`\`\`python
import hashlib
from collections import defaultdict
from pathlib import Path


def duplicates(folder: Path) -> list[list[Path]]:
    """Groups of files below \`folder\` with the same content."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in folder.rglob("*"):
        if path.is_file():
            by_size[path.stat().st_size].append(path)

    by_hash: dict[str, list[Path]] = defaultdict(list)
    for paths in by_size.values():
        if len(paths) > 1:  # a size of its own cannot have a twin
            for path in paths:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                by_hash[digest].append(path)
    return [paths for paths in by_hash.values() if len(paths) > 1]
\`\`\`

Call it from a shell:

\`\`\`bash
python -c 'from dupes import duplicates; print(duplicates("."))' | less
\`\`\`

- Files are read **whole**; for very large ones, hash in chunks.
- Hard links count as duplicates, which may or may not be what you want.`;

const TABLE = `Both are excellent; they answer different questions.

| | SQLite | PostgreSQL |
|---|---|---|
| Runs as | a library in your process | a server |
| Writers at once | one | many |
| Set-up | a file | a service, users, backups |
| Good for | apps, tests, edge devices | several services, analytics |

### Rule of thumb

- [x] One process on one machine: **SQLite**
- [x] Several machines write: **PostgreSQL**
- [ ] Not sure yet: start with SQLite behind a thin data layer`;

const CHINESE = `可以把公钥加密想象成一把**打开的挂锁**：

1. 你把打开的挂锁分发给所有人，这就是*公钥*；
2. 别人把信放进盒子，用你的挂锁锁上；
3. 只有你手里的钥匙（*私钥*）能打开盒子。

> 公钥负责加锁，私钥负责解锁，两者不能互相推算。

实际使用中，公钥加密速度较慢，通常只用来保护一个随机的会话密钥，正文再用 \`AES-256-GCM\` 这样的对称算法加密。

\`\`\`python
def greet(name: str) -> str:
    # 中文注释也应当清晰可读
    return f"你好，{name}！"
\`\`\`

更多内容可参考 [TLS 1.3 标准](https://www.rfc-editor.org/rfc/rfc8446)。`;

const UNSAFE = `Images are not loaded: ![a cat](https://tracker.example/cat.png?who=owner)

A [harmless looking link](https://evil.example/path), a [script](javascript:alert(1)), a [lie](https://bank.example@evil.example/), https://plain.example/here

<img src="https://tracker.example/p.gif" onerror="alert(1)"><script>alert(2)</script>

Line one<br>line two`;

const REASONING =
  'The question is about a comparison. First I should recall what both have in common, then where they differ, and then give a rule that helps to decide.\n\nA table will be easier to read than prose.';

const NAMED = { code: CODE, table: TABLE, unsafe: UNSAFE, chinese: CHINESE };

/** Tokens of roughly a model's size: words for Latin text, one or two signs for Chinese. */
function tokens(text) {
  return text.match(/[\u4e00-\u9fff]{1,2}|\s*[^\s\u4e00-\u9fff]{1,8}|\s+/g) ?? [];
}

function choose(message) {
  if (/[\u4e00-\u9fff]/.test(message)) return CHINESE;
  if (/python|code|function/i.test(message)) return CODE;
  if (/compare|table/i.test(message)) return TABLE;
  return GENERAL;
}

function longText(words) {
  const parts = [];
  for (let index = 0; index < words; index += 1) {
    parts.push(`word${index}`);
    if (index % 60 === 59) parts.push('\n\n');
  }
  return parts.join(' ');
}

/**
 * The script of a run: { refuse } to turn the message down, or { steps, pace, tricks } where a step is
 * [event type, data] and `tricks` names what the doors do to the stream.
 */
export function scriptFor(message) {
  const [command, argument = '', extra = ''] = message.startsWith('/') ? message.slice(1).split(/\s+/) : [''];
  if (command === 'refuse') return { refuse: argument || 'quota_exceeded', retryAfter: Number(extra) || null };
  const script = { steps: [], pace: 1, tricks: new Set(), failure: null };
  const text = NAMED[command] ?? (command === 'long' ? longText(Number(argument) || 2000) : choose(message));
  if (command === 'reason') script.steps.push(...tokens(REASONING).map((part) => ['reasoning.delta', { text: part }]));
  if (command === 'tool') {
    const call = { call_id: 'call_1', name: 'search_documents' };
    script.steps.push(['tool.started', { ...call, arguments: { query: 'travel policy', limit: 3 } }]);
    script.steps.push(['tool.finished', { ...call, result: { hits: 3, best: 'travel-policy.pdf' }, error: null }]);
  }
  script.steps.push(...tokens(text).map((part) => ['text.delta', { text: part }]));
  if (command === 'fail') {
    script.steps = script.steps.slice(0, 40);
    script.failure = argument || 'provider_stream_cut';
  }
  if (command === 'slow') script.pace = 12;
  if (command === 'fast') script.pace = 0;
  for (const trick of ['cut', 'gap', 'dup', 'lose']) if (command === trick) script.tricks.add(trick);
  return script;
}
