import { API_KEY_PREFIX } from '../access/api-key.ts'
import { TOKEN_LENGTH } from '../access/token.ts'
import type { Presentation } from '../access/types.ts'

/** What a text after `Bearer`, or in a first frame, is shown as. These doors are of this machine only, so a token need not name its audience. */
export function presentationOf(text: string): Presentation {
  // A token may begin like a key by chance; a key never has this length.
  const key = text.length !== TOKEN_LENGTH && text.startsWith(API_KEY_PREFIX)
  return key ? { kind: 'api-key', text } : { kind: 'token', text }
}
