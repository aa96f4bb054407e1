import type { Api } from '../api/client';
import type { MessagePage } from '../api/contract';
import { Failure } from '../api/failure';

/** A server that is being restarted is back within these; one that was not there at all is asked only briefly. */
const WAITS_MS = [300, 1000, 2500, 5000, 8000];
const BRIEF = 2;
/** How many of the newest conversations may be the one that was just begun. */
const NEWEST = 3;

export interface LostTurn {
  /** The message, or null for a retry, which sends none. */
  text: string | null;
  /** How many messages of the person the conversation had before. */
  asked: number;
  /** Conversations that existed before cannot be the new one. */
  existed: (conversationId: string) => boolean;
}

/**
 * Looks for a turn whose acceptance never reached the page: in its conversation, or, for a new one, among the
 * newest. Null when the server does not have it, or cannot be asked: then the message may be sent again.
 * `unsent`: most likely the request never left.
 */
export async function findLostTurn(
  api: Api,
  conversationId: string | null,
  lost: LostTurn,
  unsent = false,
): Promise<MessagePage | null> {
  for (const wait of unsent ? WAITS_MS.slice(0, BRIEF) : WAITS_MS) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    try {
      if (conversationId !== null) return await inConversation(api, conversationId, lost);
      return await amongNewest(api, lost);
    } catch (error) {
      const failure = Failure.from(error);
      if (failure.code !== 'network' && failure.code !== 'timeout') return null;
    }
  }
  return null;
}

async function inConversation(api: Api, id: string, lost: LostTurn): Promise<MessagePage | null> {
  const page = await api.messages(id);
  if (lost.text === null) return page.active_run ? page : null;
  const asked = page.messages.filter((message) => message.role === 'user');
  return asked.length > lost.asked && sameText(asked.at(-1)?.content, lost.text) ? page : null;
}

async function amongNewest(api: Api, lost: LostTurn): Promise<MessagePage | null> {
  const { conversations } = await api.conversations(null, NEWEST);
  for (const { id } of conversations) {
    if (lost.existed(id)) continue;
    const page = await api.messages(id);
    if (sameText(page.messages[0]?.content, lost.text)) return page;
  }
  return null;
}

/** The server may trim what was typed. */
export function sameText(one: string | undefined, other: string | null): boolean {
  return one !== undefined && other !== null && one.trim() === other.trim();
}
