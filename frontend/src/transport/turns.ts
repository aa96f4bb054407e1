import type { TurnAccepted } from '../api/contract';
import { Failure } from '../api/failure';

/** How long the server may take to accept a turn before the page looks for it elsewhere. */
const ACCEPT_MS = 30_000;

interface Pending {
  resolve(turn: TurnAccepted): void;
  reject(failure: Failure): void;
  timer: ReturnType<typeof setTimeout>;
}

/** Turns that were sent over the socket and not answered yet, by their ref. */
export class PendingTurns {
  readonly #pending = new Map<string, Pending>();

  expect(ref: string): Promise<TurnAccepted> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.reject(ref, new Failure('timeout')), ACCEPT_MS);
      this.#pending.set(ref, { resolve, reject, timer });
    });
  }

  resolve(ref: string, turn: TurnAccepted): void {
    this.#take(ref)?.resolve(turn);
  }

  /** False when nobody waits for this ref. */
  reject(ref: string, failure: Failure): boolean {
    const pending = this.#take(ref);
    pending?.reject(failure);
    return pending !== undefined;
  }

  rejectAll(failure: Failure): void {
    for (const ref of [...this.#pending.keys()]) this.reject(ref, failure);
  }

  #take(ref: string): Pending | undefined {
    const pending = this.#pending.get(ref);
    if (pending) clearTimeout(pending.timer);
    this.#pending.delete(ref);
    return pending;
  }
}

/** A reference that is unique in this tab; `crypto.randomUUID` exists on secure origins only. */
export function newRef(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
