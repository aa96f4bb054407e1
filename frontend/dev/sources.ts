// Says which sources a bundle was built from, so that `make check` sees a stale bundle without Node.
// launch/check_bundle.py computes the same; keep the two alike.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'vite';

const ROOTS = ['src', 'public', 'package-lock.json', 'vite.config.ts', 'tsconfig.json'];

function files(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((entry) => files(`${path}/${entry.name}`));
  } catch {
    return [path]; // not a folder
  }
}

function fingerprint(): string {
  const lines = ROOTS.flatMap(files)
    .sort()
    .map((path) => `${createHash('sha256').update(readFileSync(path)).digest('hex')}  ${path}\n`);
  return createHash('sha256').update(lines.join('')).digest('hex');
}

/** Writes `sources.sha256` beside the bundle. */
export function sourcesFingerprint(outDir: string): Plugin {
  return {
    name: 'sources-fingerprint',
    apply: 'build',
    closeBundle() {
      writeFileSync(join(outDir, 'sources.sha256'), `${fingerprint()}\n`);
    },
  };
}
