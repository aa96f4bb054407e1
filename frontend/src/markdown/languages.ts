export interface Grammar {
  keywords: ReadonlySet<string>;
  /** What begins a comment to the end of the line. */
  comments: readonly string[];
  /** Constructs that may span lines: opening, closing, class. */
  spans: readonly (readonly [string, string, 's' | 'c'])[];
  quotes: string;
  ignoreCase: boolean;
}

interface Parts {
  keywords?: string;
  comments?: string[];
  spans?: [string, string, 's' | 'c'][];
  quotes?: string;
  ignoreCase?: boolean;
}

function grammar({ keywords = '', comments = [], spans = [], quotes = `"'`, ignoreCase = false }: Parts): Grammar {
  return { keywords: new Set(keywords.split(' ')), comments, spans, quotes, ignoreCase };
}

const C_COMMENT: [string, string, 'c'] = ['/*', '*/', 'c'];

const JS =
  'abstract any as async await boolean break case catch class const continue debugger declare default delete do else enum export extends false finally for from function get if implements import in instanceof interface keyof let namespace never new null number of private protected public readonly return set static string super switch this throw true try type typeof undefined unknown var void while yield';
const PYTHON =
  'False None True and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return self try while with yield';
const JAVA =
  'abstract boolean break byte case catch char class const continue default do double else enum extends final finally float for fun if implements import in instanceof int interface internal is long namespace new null object override package private protected public record return sealed short static string super switch this throw throws true false try using val var virtual void when while';
const C =
  'auto bool break case catch char class const constexpr continue default delete do double else enum explicit extern false float for friend if include inline int long namespace new nullptr operator private protected public return short signed sizeof static struct switch template this throw true try typedef typename union unsigned using virtual void volatile while define ifdef ifndef endif';
const GO =
  'any bool break byte case chan const continue default defer else error fallthrough false float64 for func go goto if import int int64 interface iota map nil package range return rune select string struct switch true type uint var';
const RUST =
  'as async await bool break const continue crate dyn else enum extern f64 false fn for i32 i64 if impl in let loop match mod move mut pub ref return self Self static str String struct super trait true type u8 u32 u64 unsafe usize use where while Some None Ok Err';
const SHELL =
  'case cd do done echo elif else esac exit export fi for function if in local read return set shift source then unset until while sudo';
const SQL =
  'add all alter and as asc begin between by case check column commit constraint create cross default delete desc distinct drop else end exists foreign from full group having if in index inner insert into is join key left like limit not null offset on or order outer primary references returning right rollback select set table then union unique update using values view when where with';
const RUBY =
  'alias and begin break case class def do else elsif end ensure false for if in module next nil not or raise redo require rescue retry return self super then true undef unless until when while yield';
const CSS = 'important media supports keyframes import font-face layer container from to';

const js = grammar({ keywords: JS, comments: ['//'], spans: [C_COMMENT, ['`', '`', 's']] });
const python = grammar({ keywords: PYTHON, comments: ['#'], spans: [['"""', '"""', 's'], ["'''", "'''", 's']] });
const java = grammar({ keywords: JAVA, comments: ['//'], spans: [C_COMMENT, ['"""', '"""', 's']] });
const c = grammar({ keywords: C, comments: ['//'], spans: [C_COMMENT] });
const go = grammar({ keywords: GO, comments: ['//'], spans: [C_COMMENT, ['`', '`', 's']] });
const rust = grammar({ keywords: RUST, comments: ['//'], spans: [C_COMMENT], quotes: '"' });
const shell = grammar({ keywords: SHELL, comments: ['#'] });
const config = grammar({ keywords: 'true false null yes no on off', comments: ['#'] });
const sql = grammar({ keywords: SQL, comments: ['--'], spans: [C_COMMENT], ignoreCase: true });
const json = grammar({ keywords: 'true false null', quotes: '"', comments: ['//'] });
const markup = grammar({ spans: [['<!--', '-->', 'c']] });
const css = grammar({ keywords: CSS, spans: [C_COMMENT] });
const ruby = grammar({ keywords: RUBY, comments: ['#'] });

const GRAMMARS: Record<string, Grammar> = {
  js, javascript: js, jsx: js, ts: js, typescript: js, tsx: js, mjs: js, php: js, swift: js, dart: js,
  py: python, python, java, kotlin: java, kt: java, cs: java, csharp: java, 'c#': java, scala: java,
  c, cpp: c, 'c++': c, h: c, go, golang: go, rust, rs: rust,
  sh: shell, bash: shell, shell, zsh: shell, console: shell, dockerfile: shell, makefile: shell,
  yaml: config, yml: config, toml: config, ini: config, env: config,
  sql, postgresql: sql, mysql: sql, json, jsonc: json, html: markup, xml: markup, svg: markup, vue: markup,
  css, scss: css, less: css, rb: ruby, ruby,
};

export function grammarOf(language: string): Grammar | null {
  const name = language.toLowerCase();
  return Object.hasOwn(GRAMMARS, name) ? (GRAMMARS[name] ?? null) : null;
}
