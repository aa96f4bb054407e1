import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Failure } from '../../src/api/failure';
import { text } from '../events';
import { makeLine } from './fakes';

const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

/** Longer than the first waits of the back-off, shorter than its later ones. */
const SOON = 1000;

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe('Line over a websocket', () => {
  it('is online when the server says it is ready, not when the socket opens', () => {
    const { line, sockets } = makeLine();
    line.open();
    expect(line.state.get().status).toBe('connecting');
    sockets[0]?.ready();
    expect(line.state.get()).toEqual({ status: 'online', mode: 'socket' });
  });

  it('starts a turn and resolves with its acceptance', async () => {
    const { line, sockets, events } = makeLine();
    line.open();
    const socket = sockets[0]!.ready();
    const started = line.startTurn({ message: 'hello', agent: 'a' });
    const frame = socket.sent[0]!;
    expect(frame).toMatchObject({ type: 'turn.start', message: 'hello', agent: 'a' });
    const { ref } = frame as { ref: string };
    socket.say({ type: 'turn.accepted', ref, run_id: 'r1', conversation: { id: 'c1' }, message_id: 'm1' });
    // Known before the promise resolves: the first events may be in the very next frame.
    expect(events.accepted).toHaveBeenCalledWith(expect.objectContaining({ runId: 'r1' }));
    await expect(started).resolves.toMatchObject({ runId: 'r1', conversation: { id: 'c1' } });
  });

  it('rejects the turn that the error names, with its code and wait', async () => {
    const { line, sockets } = makeLine();
    line.open();
    const socket = sockets[0]!.ready();
    const started = line.startTurn({ message: 'hello' });
    const { ref } = socket.sent[0] as { ref: string };
    socket.say({ type: 'error', ref, run_id: null, code: 'quota_exceeded', message: 'used up', retry_after: 60 });
    await expect(started).rejects.toMatchObject({ code: 'quota_exceeded', retryAfter: 60 });
  });

  it('rejects a turn whose socket is lost before the answer', async () => {
    const { line, sockets } = makeLine();
    line.open();
    sockets[0]!.ready();
    const started = line.startTurn({ message: 'hello' });
    sockets[0]!.drop();
    await expect(started).rejects.toMatchObject({ code: 'connection_lost' });
  });

  it('comes back after a loss and follows from the last event', async () => {
    const { line, sockets, seqs, events } = makeLine();
    line.open();
    sockets[0]!.ready();
    line.follow('r1');
    seqs.set('r1', 17);
    sockets[0]!.drop();
    expect(line.state.get().status).toBe('reconnecting');
    await tick(SOON);
    sockets[1]!.ready();
    expect(sockets[1]!.sent).toEqual([{ type: 'run.follow', run_id: 'r1', after_seq: 17 }]);
    expect(events.restart).toHaveBeenLastCalledWith('r1');
    expect(line.state.get().status).toBe('online');
  });

  it('does not follow again what has ended or was left', async () => {
    const { line, sockets } = makeLine();
    line.open();
    sockets[0]!.ready();
    line.follow('r1');
    line.follow('r2');
    line.finished('r1');
    line.unfollow('r2');
    sockets[0]!.drop();
    await tick(SOON);
    sockets[1]!.ready();
    expect(sockets[1]!.sent).toEqual([]);
  });

  it('gives up a socket that has been silent for 40 s, and keeps one that beats', async () => {
    const { line, sockets } = makeLine();
    line.open();
    sockets[0]!.ready();
    await tick(30_000);
    sockets[0]!.say({ type: 'heartbeat' });
    await tick(35_000);
    expect(sockets[0]!.closed).toBe(false);
    await tick(10_000);
    expect(sockets[0]!.closed).toBe(true);
    await tick(SOON);
    expect(sockets).toHaveLength(2);
  });

  it('waits longer after each failure while the server is away', async () => {
    const { line, sockets, api } = makeLine();
    api.me.mockRejectedValue(new Failure('network'));
    line.open();
    const waits: number[] = [];
    for (let attempt = 0; attempt < 6; attempt += 1) {
      const count = sockets.length;
      const begin = Date.now();
      sockets.at(-1)!.drop();
      while (sockets.length === count) await tick(50);
      waits.push(Date.now() - begin);
    }
    expect(waits[0]).toBeLessThan(600);
    expect(waits[5]).toBeGreaterThan(6000);
    // The server was not there at all: that says nothing about websockets.
    expect(line.state.get().mode).toBe('socket');
  });

  it('is online on a new socket, whatever an old question about the network answers', async () => {
    const { line, sockets, api } = makeLine();
    let answer: (failure: Failure) => void = () => {};
    api.me.mockReturnValue(new Promise((_, reject) => { answer = reject; }));
    line.open();
    sockets[0]!.drop();
    line.wake();
    sockets[1]!.ready();
    answer(new Failure('network'));
    await tick(0);
    expect(line.state.get().status).toBe('online');
  });

  it('reads a run again on a gap', () => {
    const { line, sockets, seqs } = makeLine();
    line.open();
    sockets[0]!.ready();
    line.follow('r1');
    seqs.set('r1', 4);
    line.refollow('r1');
    expect(sockets[0]!.sent.slice(1)).toEqual([
      { type: 'run.unfollow', run_id: 'r1' },
      { type: 'run.follow', run_id: 'r1', after_seq: 4 },
    ]);
  });

  it('stops for good when it is signed out, and says so', async () => {
    const { line, sockets, events } = makeLine();
    line.open();
    sockets[0]!.ready();
    sockets[0]!.drop(4401, 'not_authenticated');
    await tick(60_000);
    expect(sockets).toHaveLength(1);
    expect(line.state.get().status).toBe('signed_out');
    expect(events.failure).toHaveBeenCalledWith(expect.objectContaining({ code: 'not_authenticated' }));
  });

  it('learns from the API why a handshake was refused', async () => {
    const { line, sockets, api } = makeLine();
    api.me.mockRejectedValue(new Failure('not_authenticated', { status: 401 }));
    line.open();
    sockets[0]!.drop();
    await tick();
    expect(line.state.get().status).toBe('signed_out');
  });

  it('hands on that a run cannot be followed', () => {
    const { line, sockets, events } = makeLine();
    line.open();
    sockets[0]!.ready();
    line.follow('r1');
    sockets[0]!.say({ type: 'error', ref: null, run_id: 'r1', code: 'stream_gone', message: '', retry_after: null });
    expect(events.runRefused).toHaveBeenCalledWith('r1', expect.objectContaining({ code: 'stream_gone' }));
  });
});

describe('Line without a websocket', () => {
  async function fallen() {
    const parts = makeLine();
    parts.line.open();
    parts.sockets[0]!.drop();
    await tick(SOON);
    parts.sockets[1]!.drop();
    await tick();
    return parts;
  }

  it('falls back after two sockets that could not be opened, not after one', async () => {
    const { line, sockets } = makeLine();
    line.open();
    sockets[0]!.drop();
    await tick();
    expect(line.state.get()).toEqual({ status: 'reconnecting', mode: 'socket' });
    await tick(SOON);
    sockets[1]!.drop();
    await tick();
    expect(line.state.get()).toEqual({ status: 'online', mode: 'sse' });
  });

  it('posts the turn and follows it over SSE', async () => {
    const { line, api, streams, events } = await fallen();
    await line.startTurn({ message: 'hello' });
    expect(api.startRun).toHaveBeenCalledWith({ message: 'hello' });
    await tick();
    streams[0]!.stream.say({ ...text(1, 'hi'), run_id: 'posted' });
    await tick();
    expect(events.event).toHaveBeenCalledWith(expect.objectContaining({ run_id: 'posted', seq: 1 }));
  });

  it('resumes a cut stream after the last event', async () => {
    const { line, streams } = await fallen();
    line.follow('r1');
    await tick();
    streams[0]!.stream.say({ ...text(6, 'x'), run_id: 'r1' });
    await tick();
    streams[0]!.stream.end();
    await tick();
    expect(line.state.get().status).toBe('reconnecting');
    await tick(SOON);
    expect(streams[1]).toMatchObject({ runId: 'r1', after: 6 });
    expect(line.state.get().status).toBe('online');
  });

  it('cancels over HTTP', async () => {
    const { line, api } = await fallen();
    await line.cancel('r1');
    expect(api.cancelRun).toHaveBeenCalledWith('r1');
  });

  it('tries a socket again after a minute and moves over to it', async () => {
    const { line, sockets, streams } = await fallen();
    line.follow('r1');
    await tick();
    expect(streams).toHaveLength(1);
    await tick(60_000);
    sockets[2]!.ready();
    expect(line.state.get()).toEqual({ status: 'online', mode: 'socket' });
    expect(sockets[2]!.sent).toEqual([{ type: 'run.follow', run_id: 'r1', after_seq: 0 }]);
  });

  it('bridges with SSE while a socket hangs in its handshake', async () => {
    const { line, streams, api } = makeLine();
    line.open();
    await line.startTurn({ message: 'hello' });
    expect(api.startRun).toHaveBeenCalled();
    await tick(2_500);
    expect(streams[0]).toMatchObject({ runId: 'posted', after: 0 });
  });

  it('opens no more than four streams at once', async () => {
    const { line, streams } = await fallen();
    for (const runId of ['r1', 'r2', 'r3', 'r4', 'r5']) line.follow(runId);
    await tick();
    expect(streams).toHaveLength(4);
    line.finished('r1');
    await tick();
    expect(streams[4]?.runId).toBe('r5');
  });

  it('uses SSE when there are too many sockets', async () => {
    const { line, sockets } = makeLine();
    line.open();
    sockets[0]!.drop(4429, 'too_many_connections');
    await tick();
    expect(line.state.get().mode).toBe('sse');
  });
});
