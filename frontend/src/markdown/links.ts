const SCHEMES: ReadonlySet<string> = new Set(['http:', 'https:', 'mailto:']);

/**
 * The address if a link may go there, '' if not: javascript:, data:, file: and whatever else there is, and
 * addresses without a host, which on this page would pretend to be the workspace's own.
 */
export function safeUrl(url: string): string {
  if (url.startsWith('#')) return url;
  const target = resolve(url);
  return target && SCHEMES.has(target.protocol) ? url : '';
}

/**
 * The place a link leads to, written out: the full host (international names in their ASCII form, so that
 * look-alikes show), or the mail address.
 */
export function placeOf(url: string): string {
  const target = resolve(url);
  if (!target) return '';
  return target.protocol === 'mailto:' ? target.pathname : target.host;
}

/** True when the text of a link already says honestly where it goes. */
export function namesPlace(text: string, url: string): boolean {
  const said = text.trim();
  const place = placeOf(url);
  if (place === '' || said === place) return true;
  if (!/^(?:https?:\/\/|www\.)/i.test(said)) return false;
  return placeOf(said.toLowerCase().startsWith('www.') ? `http://${said}` : said) === place;
}

function resolve(url: string): URL | null {
  try {
    return new URL(url);
  } catch {
    return null;
  }
}
