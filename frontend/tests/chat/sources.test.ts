import { expect, test } from 'vitest';
import type { Source } from '../../src/api/contract';
import { passageUrl, pictureUrl } from '../../src/chat/sources';

const source = {
  n: 1, call_id: 'c', knowledge: 'docs', document_id: 'd/1', title: 'a.pdf', url: '', page: 3, heading: '', chunk_id: 'k', score: 1,
  quote: 'q', ordinal: 7,
} as Source;

test('a passage has an address, and a picture where the server says so', () => {
  expect(passageUrl(source)).toBe('/knowledge/docs/documents/d%2F1/?passage=7');
  expect(pictureUrl(source)).toBeNull();
  expect(pictureUrl({ ...source, picture: true })).toBe('/knowledge/docs/documents/d%2F1/picture/?passage=7&size=small');
  expect(pictureUrl({ ...source, picture: true, ordinal: undefined })).toBeNull();
});
