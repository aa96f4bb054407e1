import { describe, expect, it } from 'vitest';
import { EventStreamParser } from '../../src/transport/eventstream';

const STREAM = ': hb\n\nid: 1\nevent: text.delta\ndata: {"a":1}\n\nid: 2\r\ndata: one\r\ndata: two\r\n\r\n';
const EVENTS = [
  { id: '1', event: 'text.delta', data: '{"a":1}' },
  { id: '2', event: 'message', data: 'one\ntwo' },
];

describe('EventStreamParser', () => {
  it('reads events and drops comments', () => {
    expect(new EventStreamParser().push(STREAM)).toEqual(EVENTS);
  });

  it('does not care where the chunks are cut', () => {
    for (let size = 1; size < STREAM.length; size += 1) {
      const parser = new EventStreamParser();
      const events = [];
      for (let at = 0; at < STREAM.length; at += size) events.push(...parser.push(STREAM.slice(at, at + size)));
      expect(events).toEqual(EVENTS);
    }
  });
});
