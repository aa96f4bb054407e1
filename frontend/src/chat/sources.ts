import type { Source } from '../api/contract';
import { Observable } from '../store/observable';

/** The passages that stored runs were shown, by run; each is read once, when somebody looks at what cites them. */
export class Sources extends Observable<ReadonlyMap<string, readonly Source[]>> {
  readonly #read: (runId: string) => Promise<Source[]>;
  readonly #asked = new Set<string>();

  constructor(read: (runId: string) => Promise<Source[]>) {
    super(new Map());
    this.#read = read;
  }

  /** Reads them, if nobody has. What cannot be read is asked for again by the next who looks. */
  load(runId: string): void {
    if (this.#asked.has(runId)) return;
    this.#asked.add(runId);
    this.#read(runId).then(
      (found) => this.set(new Map(this.get()).set(runId, found)),
      () => this.#asked.delete(runId),
    );
  }
}

/** The page of a document at a passage. */
export function passageUrl(source: Source): string {
  const path = `/knowledge/${encodeURIComponent(source.knowledge)}/documents/${encodeURIComponent(source.document_id)}/`;
  return source.ordinal === undefined ? path : `${path}?passage=${source.ordinal}`;
}

/** The page of a PDF with the passage marked, as a small picture; null where there is none. */
export function pictureUrl({ knowledge, document_id: id, ordinal, picture }: Source): string | null {
  if (!picture || ordinal === undefined) return null;
  return `/knowledge/${encodeURIComponent(knowledge)}/documents/${encodeURIComponent(id)}/picture/?passage=${ordinal}&size=small`;
}

/** Of several with one number (each member of a team counts its own), that of the answer's own agent. */
export function sourceOf(sources: readonly Source[], n: number): Source | undefined {
  return sources.find((one) => one.n === n && !one.path) ?? sources.find((one) => one.n === n);
}
