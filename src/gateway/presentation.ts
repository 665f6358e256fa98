import type { Presentation } from '../access/types.ts'

/** 104 bytes in base64url without padding: key id, time, signature. */
const TOKEN = /^[A-Za-z0-9_-]{139}$/

/** What a text after `Bearer`, or in a first frame, is shown as. On loopback a token is bound to no audience. */
export function presentationOf(text: string): Presentation {
  return TOKEN.test(text) ? { kind: 'token', text } : { kind: 'api-key', text }
}
