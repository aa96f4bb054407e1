import type { Failure } from '../api/failure';
import type { Message } from '../i18n/catalog';
import { Observable } from '../store/observable';

export interface Toast {
  id: number;
  text: Message;
  failure?: Failure;
  undo?: () => void;
}

/** Short messages about something that was done elsewhere on the page; the newest few are shown. */
export class Toasts extends Observable<readonly Toast[]> {
  #next = 1;

  constructor() {
    super([]);
  }

  show(toast: Omit<Toast, 'id'>): void {
    this.set([...this.get().slice(-2), { ...toast, id: this.#next }]);
    this.#next += 1;
  }

  dismiss(id: number): void {
    this.set(this.get().filter((toast) => toast.id !== id));
  }
}
