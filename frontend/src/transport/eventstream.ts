export interface ServerSentEvent {
  event: string;
  data: string;
  id: string;
}

/** Splits the text of a `text/event-stream` body into events; comments are dropped. */
export class EventStreamParser {
  #rest = '';
  #event = '';
  #data: string[] = [];
  #id = '';

  push(chunk: string): ServerSentEvent[] {
    const events: ServerSentEvent[] = [];
    const text = this.#rest + chunk;
    // A carriage return at the end may be half of a CRLF: it waits for the next chunk.
    const end = text.endsWith('\r') ? text.length - 1 : text.length;
    const lines = text.slice(0, end).split(/\r\n|\n|\r/);
    this.#rest = (lines.pop() ?? '') + text.slice(end);
    for (const line of lines) {
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line: string): ServerSentEvent | null {
    if (line === '') return this.#dispatch();
    if (line.startsWith(':')) return null;
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#event = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id') this.#id = value;
    return null;
  }

  #dispatch(): ServerSentEvent | null {
    const event = { event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id };
    const empty = this.#data.length === 0;
    this.#event = '';
    this.#data = [];
    return empty ? null : event;
  }
}
