import type { StoredFile } from '../api/contract';
import { Failure } from '../api/failure';
import { Observable } from '../store/observable';

/** A file that is to go with the next message. */
export interface Attachment {
  key: number;
  file: File;
  name: string;
  size: number;
  /** How much has been sent, 0 to 1. */
  progress: number;
  /** null until the server has it. */
  stored: StoredFile | null;
  failure: Failure | null;
}

export interface FileStore {
  upload(file: File, onProgress: (progress: number) => void, signal: AbortSignal): Promise<StoredFile>;
  remove(id: string): Promise<unknown>;
}

/** The files of the message that is being written, sent one after the other as soon as they are chosen. */
export class Attachments extends Observable<readonly Attachment[]> {
  readonly #store: FileStore;
  readonly #uploads = new Map<number, AbortController>();
  #next = 1;
  #turn: Promise<void> = Promise.resolve();

  constructor(store: FileStore) {
    super([]);
    this.#store = store;
  }

  /** Every file has arrived; also when there is none. */
  get ready(): boolean {
    return this.get().every((one) => one.stored !== null);
  }

  add(files: Iterable<File>): void {
    for (const file of files) {
      const key = this.#next++;
      this.set([...this.get(), { key, file, name: file.name, size: file.size, progress: 0, stored: null, failure: null }]);
      this.#queue(key, file);
    }
  }

  /** Sends a file again that did not arrive. */
  retry(key: number): void {
    const found = this.get().find((one) => one.key === key);
    if (!found?.failure) return;
    this.#edit(key, { failure: null, progress: 0 });
    this.#queue(key, found.file);
  }

  #queue(key: number, file: File): void {
    const controller = new AbortController();
    this.#uploads.set(key, controller);
    this.#turn = this.#turn.then(() => this.#send(key, file, controller.signal));
  }

  /** Takes a file back; one that has arrived is deleted. */
  remove(key: number): void {
    const found = this.get().find((one) => one.key === key);
    this.#uploads.get(key)?.abort();
    this.set(this.get().filter((one) => one.key !== key));
    // What stays behind where this fails belongs to the conversation, and to no message.
    if (found?.stored) void this.#store.remove(found.stored.id).catch(() => undefined);
  }

  /** The files go with a message that is sent now. */
  take(): readonly Attachment[] {
    const taken = this.get();
    this.set([]);
    return taken;
  }

  /** The message was not accepted. */
  giveBack(files: readonly Attachment[]): void {
    this.set([...files, ...this.get()]);
  }

  async #send(key: number, file: File, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    try {
      const stored = await this.#store.upload(file, (progress) => this.#edit(key, { progress }), signal);
      if (signal.aborted) await this.#store.remove(stored.id);
      else this.#edit(key, { stored, progress: 1, name: stored.name });
    } catch (error) {
      if (!signal.aborted) this.#edit(key, { failure: Failure.from(error) });
    } finally {
      this.#uploads.delete(key);
    }
  }

  #edit(key: number, change: Partial<Attachment>): void {
    this.set(this.get().map((one) => (one.key === key ? { ...one, ...change } : one)));
  }
}
