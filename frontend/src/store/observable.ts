import { useSyncExternalStore } from 'react';

/** A value with listeners; the page's state lives in these, outside React, so that a token re-renders one message. */
export class Observable<T> {
  #value: T;
  #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get = (): T => this.#value;

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }

  patch(change: Partial<T>): void {
    this.set({ ...this.#value, ...change });
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
}

export function useObservable<T>(source: Observable<T>): T {
  return useSyncExternalStore(source.subscribe, source.get, source.get);
}

/** Re-renders only when the selected part changes; `select` must return a primitive or a stored reference. */
export function useSelected<T, S>(source: Observable<T>, select: (value: T) => S): S {
  return useSyncExternalStore(source.subscribe, () => select(source.get()));
}
