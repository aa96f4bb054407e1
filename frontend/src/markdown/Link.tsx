import { Children, type ReactNode } from 'react';
import { useT } from '../i18n/language';
import { namesPlace, placeOf } from './links';

function plainText(children: ReactNode): string {
  return Children.toArray(children)
    .map((child) => (typeof child === 'string' || typeof child === 'number' ? String(child) : ''))
    .join('');
}

/** A link of an answer: opens in a new tab, tells the other side nothing, and shows its host. */
export function TextLink({ href, children }: { href: string; children: ReactNode }) {
  const t = useT();
  if (href === '') {
    return (
      <span className="link-blocked">
        {children} <small>({t('markdown.blocked')})</small>
      </span>
    );
  }
  if (href.startsWith('#')) return <a href={href}>{children}</a>;
  const place = namesPlace(plainText(children), href) ? '' : placeOf(href);
  return (
    <a href={href} target="_blank" rel="noopener noreferrer" title={`${href} (${t('markdown.newTab')})`}>
      {children}
      {place !== '' && <span className="link-place">({place})</span>}
    </a>
  );
}

/** Instead of an image: loading one would tell a stranger's server that, and what, somebody reads here. */
export function ImageLink({ src, alt }: { src: string; alt: string }) {
  const t = useT();
  const label = alt === '' ? t('markdown.imagePlain') : t('markdown.image', { alt });
  return <TextLink href={src}>{label}</TextLink>;
}
