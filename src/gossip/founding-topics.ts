import type { TopicOptions } from './types.ts'

/** Topics of the founding texts that this version serves; the assembly defines them. */
export const FOUNDING_TOPICS: readonly TopicOptions[] = [
  /** Peer records and chain entries. Who may say what there is decided by what is signed, not by who brought it. */
  { name: 'identity:updates', access: { kind: 'open' } },
  /** Trust edges and revocations; hybrid, because they outlive the machines that signed them. */
  { name: 'trust:attestations', access: { kind: 'score', min: 1_000 }, suite: 'hybrid' },
  /** Self-proving evidence (PN-10). */
  { name: 'trust:evidence', access: { kind: 'open' } },
  /** Who has which blob. */
  { name: 'blob:announce', access: { kind: 'score', min: 1_000 } },
]

/** Names that later versions give a meaning: nobody defines them, and entries under them are refused. */
export const RESERVED_TOPICS: ReadonlySet<string> = new Set(['identity:recovery', 'network:candidates', 'blob:request', 'blob:transfer'])
