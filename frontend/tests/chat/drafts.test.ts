import { beforeEach, describe, expect, it } from 'vitest';
import { Drafts } from '../../src/chat/drafts';

beforeEach(() => sessionStorage.clear());

describe('Drafts', () => {
  it('are kept per conversation and per person', () => {
    const mine = new Drafts(sessionStorage, 'acme:a@acme.test');
    mine.write(null, 'new');
    mine.write('c1', 'one');
    expect([mine.read(null), mine.read('c1'), mine.read('c2')]).toEqual(['new', 'one', '']);
    expect(new Drafts(sessionStorage, 'acme:b@acme.test').read('c1')).toBe('');
    expect(new Drafts(sessionStorage, 'acme:a@acme.test').read('c1')).toBe('one');
  });

  it('leave nothing behind when they are empty or cleared', () => {
    const drafts = new Drafts(sessionStorage, 'acme:a');
    drafts.write('c1', 'x');
    drafts.write('c1', '');
    expect(sessionStorage).toHaveLength(0);
    drafts.markSending('c1', 'y');
    sessionStorage.setItem('other', 'kept');
    drafts.clear();
    expect(Object.keys(sessionStorage)).toEqual(['other']);
  });

  it('do without a storage', () => {
    const drafts = new Drafts(null, 'acme:a');
    drafts.write('c1', 'x');
    expect(drafts.read('c1')).toBe('');
  });
});
