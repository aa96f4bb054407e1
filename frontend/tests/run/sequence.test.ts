import { describe, expect, it } from 'vitest';
import { Sequence } from '../../src/run/sequence';

function offered(sequence: Sequence, ...seqs: number[]): string[] {
  return seqs.map((seq) => sequence.offer(seq));
}

describe('Sequence', () => {
  it('applies in order and drops duplicates', () => {
    expect(offered(new Sequence(), 1, 2, 2, 1, 3)).toEqual(['apply', 'apply', 'duplicate', 'duplicate', 'apply']);
  });

  it('reports a gap once and holds what comes after it', () => {
    const sequence = new Sequence();
    expect(offered(sequence, 1, 2, 5, 6, 7)).toEqual(['apply', 'apply', 'gap', 'hold', 'hold']);
    expect(sequence.last).toBe(2);
    expect(sequence.recovering).toBe(true);
  });

  it('uses the second reading, also while the first still sends on the same wire', () => {
    const sequence = new Sequence();
    offered(sequence, 1, 2, 5);
    // 6 is of the first reading; 3, 4, 5, 6 are of the second, and after it has caught up all is as before.
    expect(offered(sequence, 6, 3, 4, 5, 6, 7)).toEqual(['hold', 'apply', 'apply', 'apply', 'apply', 'apply']);
    expect(sequence.recovering).toBe(false);
  });

  it('resumes on a new wire after the last number used', () => {
    const sequence = new Sequence();
    offered(sequence, 1, 2, 5);
    sequence.restart();
    expect(offered(sequence, 3, 4, 5)).toEqual(['apply', 'apply', 'apply']);
  });

  it('believes the log when the first event of a new reading has jumped', () => {
    const sequence = new Sequence();
    sequence.restart();
    expect(offered(sequence, 4, 5, 7)).toEqual(['apply', 'apply', 'gap']);
  });
});
