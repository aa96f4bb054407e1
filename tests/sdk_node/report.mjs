// What a script says to the test that runs it: one line of JSON for each feature, {feature, ok, said}.
import { isDeepStrictEqual } from 'node:util';

export const { BASE_URL, KEY, AGENTS: agentsText } = process.env;
// The slugs of the agents by what their models do, see tests/sdk_node/conftest.py.
export const agents = JSON.parse(agentsText);
export const ASKED = '{"city": "Oslo"}';
export const PICTURE = process.env.PICTURE;

export function equal(found, expected) {
  if (!isDeepStrictEqual(found, expected)) {
    throw new Error(`found ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`);
  }
}

/** The error that `work` ends with. */
export async function failure(work) {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}

/** Runs the features that were asked for on the command line (all without), one after the other. */
export async function run(features) {
  const wanted = process.argv.slice(2);
  for (const [feature, work] of Object.entries(features)) {
    if (wanted.length && !wanted.includes(feature)) continue;
    let said = '';
    try {
      await work();
    } catch (error) {
      said = String(error?.stack ?? error);
    }
    console.log(JSON.stringify({ feature, ok: said === '', said }));
  }
}
